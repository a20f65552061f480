//! Response codes (`TPM_RC`; Part 2, 6.6) that this board tells apart.

/// What a response code means, without the number of the handle, session or parameter at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(u32);

/// Set in codes that name a handle, session or parameter.
const FORMAT_ONE: u32 = 0x080;

impl Code {
    /// `TPM_RC_INITIALIZE`: started already, or not yet.
    pub const INITIALIZE: Self = Self(0x100);
    /// `TPM_RC_PCR_CHANGED`: a PCR changed after the session had seen it.
    pub const PCR_CHANGED: Self = Self(0x128);
    /// `TPM_RC_NV_UNINITIALIZED`: never written.
    pub const NV_UNINITIALIZED: Self = Self(0x14a);
    /// `TPM_RC_NV_SPACE`.
    pub const NV_SPACE: Self = Self(0x14b);
    /// `TPM_RC_NV_DEFINED`.
    pub const NV_DEFINED: Self = Self(0x14c);
    /// `TPM_RC_OBJECT_MEMORY`.
    pub const OBJECT_MEMORY: Self = Self(0x902);
    /// `TPM_RC_SESSION_MEMORY`.
    pub const SESSION_MEMORY: Self = Self(0x903);
    /// `TPM_RC_SESSION_HANDLES`.
    pub const SESSION_HANDLES: Self = Self(0x905);
    /// `TPM_RC_YIELDED`: send it again.
    pub const YIELDED: Self = Self(0x908);
    /// `TPM_RC_TESTING`: send it again.
    pub const TESTING: Self = Self(0x90a);
    /// `TPM_RC_LOCKOUT`.
    pub const LOCKOUT: Self = Self(0x921);
    /// `TPM_RC_RETRY`: send it again.
    pub const RETRY: Self = Self(0x922);
    /// `TPM_RC_HANDLE`: nothing is there.
    pub const HANDLE: Self = Self(0x08b);
    /// `TPM_RC_AUTH_FAIL`.
    pub const AUTH_FAIL: Self = Self(0x08e);
    /// `TPM_RC_POLICY_FAIL`.
    pub const POLICY_FAIL: Self = Self(0x09d);
    /// `TPM_RC_BAD_AUTH`.
    pub const BAD_AUTH: Self = Self(0x0a2);

    /// From a response. Codes of format one lose what they point at.
    #[must_use]
    pub const fn of(raw: u32) -> Self {
        if raw & FORMAT_ONE != 0 { Self(raw & 0x0bf) } else { Self(raw) }
    }

    /// Whether sending the command again is the answer.
    #[must_use]
    pub fn asks_again(self) -> bool {
        [Self::RETRY, Self::YIELDED, Self::TESTING].contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_whatever_it_points_at() {
        for raw in [0x09d, 0x19d, 0x99d, 0xadd] {
            assert_eq!(Code::of(raw), Code::POLICY_FAIL, "{raw:#x}");
        }
        assert_eq!(Code::of(0x18b), Code::HANDLE);
        assert_eq!(Code::of(0x14b), Code::NV_SPACE);
        assert!(Code::of(0x922).asks_again() && !Code::of(0x921).asks_again());
    }
}
