//! Whom a device may reach: names from its enrolment, addresses from this machine's resolver.

use crate::story::Memory;
use anyhow::{Context, Result, bail};
use std::net::{SocketAddr, ToSocketAddrs};

/// The board's `--radio` options: the cloud and the Key Center that the device was enrolled
/// with, then what was asked for besides. A name that is given twice goes where it was told
/// last. A host that has no address now is said on standard error: a device may be on without
/// its cloud.
pub(crate) fn routes(memory: &Memory, asked: &[String]) -> Result<Vec<String>> {
    let mut routes = Vec::new();
    for url in [&memory.cloud_url, &memory.keycenter_url].into_iter().flatten() {
        let name = authority(url)?;
        // An override needs no address besides.
        if asked.iter().any(|it| it.split('=').next() == Some(name.as_str())) {
            continue;
        }
        match resolve(&name) {
            Ok(address) => routes.push(format!("{name}={address}")),
            Err(error) => eprintln!("holdfast: the device will not reach {name}: {error:#}"),
        }
    }
    for asked in asked {
        routes.push(match asked.contains('=') {
            true => asked.clone(),
            false => format!("{asked}={}", resolve(asked)?),
        });
    }
    Ok(routes)
}

/// `host:port` of an https URL.
pub(crate) fn authority(url: &str) -> Result<String> {
    let rest = url.strip_prefix("https://").with_context(|| format!("{url:?} is no https URL"))?;
    let authority = rest.split('/').next().unwrap_or(rest).to_ascii_lowercase();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(if has_port { authority } else { format!("{authority}:443") })
}

/// The address of `host:port`; one of IPv4 where there is one, as the servers listen there.
fn resolve(name: &str) -> Result<SocketAddr> {
    let found: Vec<_> = name
        .to_socket_addrs()
        .with_context(|| format!("{name}: HOST:PORT with a known host is due"))?
        .collect();
    match found.iter().find(|it| it.is_ipv4()).or_else(|| found.first()) {
        Some(address) => Ok(*address),
        None => bail!("{name} has no address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrolled() -> Memory {
        Memory {
            cloud_url: Some("https://localhost:8443".into()),
            keycenter_url: Some("https://LOCALHOST:8200/".into()),
            ..Memory::default()
        }
    }

    #[test]
    fn an_enrolled_device_reaches_its_cloud_and_the_key_center() {
        let routes = routes(&enrolled(), &[]).unwrap();
        assert_eq!(routes, ["localhost:8443=127.0.0.1:8443", "localhost:8200=127.0.0.1:8200"]);
    }

    #[test]
    fn a_route_that_was_asked_for_comes_instead() {
        let asked = ["localhost:8443=127.0.0.1:9443".to_owned(), "127.0.0.1:5".to_owned()];
        let routes = routes(&enrolled(), &asked).unwrap();
        let due = [
            "localhost:8200=127.0.0.1:8200",
            "localhost:8443=127.0.0.1:9443",
            "127.0.0.1:5=127.0.0.1:5",
        ];
        assert_eq!(routes, due);
    }

    #[test]
    fn a_device_without_a_cloud_reaches_nobody() {
        assert!(routes(&Memory::default(), &[]).unwrap().is_empty());
    }

    #[test]
    fn a_url_without_a_port_is_https_s() {
        assert_eq!(authority("https://Cloud.example/x").unwrap(), "cloud.example:443");
        assert!(authority("http://cloud.example").is_err());
    }
}
