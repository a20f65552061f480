//! Requests.

use super::IN_HEADER_BYTES;

/// The header of a request (`fuse_in_header`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) opcode: u32,
    /// The number that its answer carries.
    pub(crate) unique: u64,
    pub(crate) node: u64,
    /// Who asks.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Header {
    /// Takes a request apart; `None` where it is no whole one.
    pub(crate) fn parse(bytes: &mut [u8]) -> Option<(Self, &mut [u8])> {
        let whole = bytes.len();
        let (header, body) = bytes.split_at_mut_checked(IN_HEADER_BYTES)?;
        let fields = Fields(header);
        let header = Self {
            opcode: fields.u32(4)?,
            unique: fields.u64(8)?,
            node: fields.u64(16)?,
            uid: fields.u32(24)?,
            gid: fields.u32(28)?,
        };
        (fields.u32(0)? as usize == whole).then_some((header, body))
    }
}

/// Numbers and names at their places in a request, in the byte order of this machine.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    pub(crate) fn u64(self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    /// The text up to the next NUL, and what follows it.
    pub(crate) fn name(self, at: usize) -> Option<(&'a [u8], Self)> {
        let rest = self.0.get(at..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some((&rest[..end], Self(&rest[end + 1..])))
    }
}

/// A point of time as the kernel gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Now,
    At(i64, u32),
}

/// What `FUSE_SETATTR` changes (`fuse_setattr_in`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetAttributes {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) atime: Option<Moment>,
    pub(crate) mtime: Option<Moment>,
    /// The file loses its set-user-id and set-group-id bits.
    pub(crate) kill_privileges: bool,
}

impl SetAttributes {
    pub(crate) fn parse(body: Fields<'_>) -> Option<Self> {
        let valid = body.u32(0)?;
        let given = |bit: u32| valid >> bit & 1 == 1;
        let moment = |set: u32, now: u32, seconds: usize, nanoseconds: usize| {
            let at = Moment::At(body.u64(seconds)?.cast_signed(), body.u32(nanoseconds)?);
            Some(given(set).then_some(if given(now) { Moment::Now } else { at }))
        };
        let (mode, uid, gid) = (body.u32(68)?, body.u32(76)?, body.u32(80)?);
        Some(Self {
            mode: given(0).then_some(mode),
            uid: given(1).then_some(uid),
            gid: given(2).then_some(gid),
            size: given(3).then_some(body.u64(16)?),
            atime: moment(4, 7, 32, 56)?,
            mtime: moment(5, 8, 40, 60)?,
            kill_privileges: given(11),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn requests_that_are_cut_short_are_none(mut bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let length = bytes.len();
            if let Some(field) = bytes.first_chunk_mut::<4>() {
                *field = u32::try_from(length).unwrap().to_ne_bytes();
            }
            let parsed = Header::parse(&mut bytes).map(|(_, body)| body.to_vec());
            prop_assert_eq!(parsed.is_some(), length >= IN_HEADER_BYTES);
            let body = parsed.unwrap_or_default();
            let set = SetAttributes::parse(Fields(&body));
            prop_assert_eq!(set.is_some(), body.len() >= 84);
            Fields(&body).name(8);
        }
    }
}
