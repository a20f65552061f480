//! The few requests that the modem understands (RFC 9112), strictly.

/// The longest request head.
pub const MAX_HEAD_BYTES: usize = 8192;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Open a connection to `host:port`, in lower case.
    Connect(String),
    /// Where the device is.
    Position,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not HTTP/1.1 as RFC 9112 writes it.
    #[error("this is not an HTTP/1.1 request")]
    Malformed,
    /// Another method.
    #[error("CONNECT and GET are all there is")]
    Method,
    /// Another resource.
    #[error("there is nothing of this name")]
    NotFound,
    /// The head does not end.
    #[error("the request's head is longer than 8192 bytes")]
    TooLong,
}

impl BadRequest {
    /// The status code with its reason phrase.
    #[must_use]
    pub const fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::Method => "405 Method Not Allowed",
            Self::NotFound => "404 Not Found",
            Self::TooLong => "431 Request Header Fields Too Large",
        }
    }
}

/// Reads the request at the start of `bytes`: `None` while its head is not whole. Beside it comes
/// how long the head is; what follows belongs to the connection that it opens.
pub fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, BadRequest> {
    let window = &bytes[..bytes.len().min(MAX_HEAD_BYTES)];
    let Some(end) = window.windows(4).position(|four| four == b"\r\n\r\n") else {
        let full = window.len() == MAX_HEAD_BYTES;
        return if full { Err(BadRequest::TooLong) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&window[..end]).map_err(|_| BadRequest::Malformed)?;
    let mut lines = head.split("\r\n");
    let request = request_line(lines.next().unwrap_or_default())?;
    let mut hosts = 0;
    for line in lines {
        let (name, value) = field(line)?;
        // A body has no place in either request.
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" if value == "0" => {}
            "content-length" | "transfer-encoding" => return Err(BadRequest::Malformed),
            _ => {}
        }
    }
    if hosts != 1 {
        return Err(BadRequest::Malformed);
    }
    Ok(Some((request, end + 4)))
}

fn request_line(line: &str) -> Result<Request, BadRequest> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts.as_slice() else {
        return Err(BadRequest::Malformed);
    };
    match *method {
        "CONNECT" => authority(target).map(Request::Connect).ok_or(BadRequest::Malformed),
        "GET" if *target == "/position" => Ok(Request::Position),
        "GET" => Err(BadRequest::NotFound),
        _ if method.bytes().all(is_token) && !method.is_empty() => Err(BadRequest::Method),
        _ => Err(BadRequest::Malformed),
    }
}

/// `host:port` with a name, an IPv4 address or a bracketed IPv6 address.
fn authority(target: &str) -> Option<String> {
    let (host, port) = target.rsplit_once(':')?;
    let port_ok = (1..=5).contains(&port.len())
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|number| number > 0);
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_ok = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            (1..=253).contains(&host.len())
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    (port_ok && host_ok).then(|| target.to_ascii_lowercase())
}

fn field(line: &str) -> Result<(&str, &str), BadRequest> {
    let (name, value) = line.split_once(':').ok_or(BadRequest::Malformed)?;
    let value_ok = value.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte));
    if name.is_empty() || !name.bytes().all(is_token) || !value_ok {
        return Err(BadRequest::Malformed);
    }
    Ok((name, value.trim_matches([' ', '\t'])))
}

/// RFC 9110, 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn understands_its_two_requests() {
        let connect =
            b"CONNECT Cloud.Holdfast:443 HTTP/1.1\r\nHost: cloud.holdfast:443\r\n\r\nrest";
        let head = connect.len() - 4;
        let request = Request::Connect("cloud.holdfast:443".into());
        assert_eq!(parse(connect), Ok(Some((request, head))));
        let position = b"GET /position HTTP/1.1\r\nhost: radio\r\n\r\n";
        assert_eq!(parse(position), Ok(Some((Request::Position, position.len()))));
        for length in 0..position.len() {
            assert_eq!(parse(&position[..length]), Ok(None));
        }
    }

    #[test]
    fn refuses_everything_else() {
        use BadRequest::{Malformed, Method, NotFound};
        for (head, why) in [
            ("CONNECT cloud HTTP/1.1\r\nHost: x", Malformed),
            ("CONNECT cloud:0 HTTP/1.1\r\nHost: x", Malformed),
            ("CONNECT cloud:65536 HTTP/1.1\r\nHost: x", Malformed),
            ("CONNECT clo/ud:443 HTTP/1.1\r\nHost: x", Malformed),
            ("CONNECT [::g]:443 HTTP/1.1\r\nHost: x", Malformed),
            ("CONNECT cloud:443 HTTP/1.0\r\nHost: x", Malformed),
            ("CONNECT  cloud:443 HTTP/1.1\r\nHost: x", Malformed),
            ("CONNECT cloud:443 HTTP/1.1", Malformed),
            ("CONNECT cloud:443 HTTP/1.1\r\nHost: x\r\nHost: y", Malformed),
            ("CONNECT cloud:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 5", Malformed),
            ("CONNECT cloud:443 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked", Malformed),
            ("CONNECT cloud:443 HTTP/1.1\r\nHost: x\r\n folded", Malformed),
            ("CONNECT cloud:443 HTTP/1.1\r\nHost : x", Malformed),
            ("CONNECT cloud:443 HTTP/1.1\r\nHost: x\ny", Malformed),
            ("GET / HTTP/1.1\r\nHost: x", NotFound),
            ("GET http://cloud/ HTTP/1.1\r\nHost: x", NotFound),
            ("POST /position HTTP/1.1\r\nHost: x", Method),
            ("", Malformed),
        ] {
            assert_eq!(parse(format!("{head}\r\n\r\n").as_bytes()), Err(why), "{head}");
        }
        assert_eq!(parse(&[b'a'; MAX_HEAD_BYTES]), Err(BadRequest::TooLong));
    }

    proptest! {
        #[test]
        fn takes_any_bytes_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"CONNECT ", &bytes[..], b" HTTP/1.1\r\nhost:\r\n\r\n"].concat());
        }
    }
}
