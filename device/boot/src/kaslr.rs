//! Where the kernel lies: at another address after each power-on (SPEC S2.3, KASLR).
//!
//! The seed is 64 fresh bits of the board's own generator. It goes from the TEE to level 2 over
//! the boot channel and from there to the kernel through a pipe: not in an argument, which
//! everybody on the host can read, and in no log.
//!
//! The emulated kernel is a program that its host placed. What it lays out by itself is the
//! kernel image: mapped for reading, at the address that the seed says.

use board::verdict::Refusal;
use rustix::fd::{AsFd, OwnedFd};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::ffi::c_void;
use std::io::{self, Read, Write};
use tee_api::boot::KaslrSeed;

/// The lowest address, above what programs that are not relocated use.
const LOWEST: u64 = 0x1000_0000_0000;
const PAGE_BYTES: u64 = 4096;
/// Pages among which the seed chooses: 64 TiB of them.
const PAGES: u64 = 1 << 34;

/// The address for the kernel's image.
#[must_use]
pub const fn address(seed: &KaslrSeed) -> u64 {
    LOWEST + seed.number() % PAGES * PAGE_BYTES
}

/// The end of a pipe from which the next stage takes the seed.
pub fn hand_over(seed: &KaslrSeed) -> io::Result<OwnedFd> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    std::fs::File::from(write).write_all(&seed.number().to_le_bytes())?;
    Ok(read)
}

/// Takes the seed out of the pipe; it is there once.
pub fn take(pipe: OwnedFd) -> io::Result<KaslrSeed> {
    let mut bytes = [0; 8];
    let mut pipe = std::fs::File::from(pipe);
    pipe.read_exact(&mut bytes)?;
    match pipe.read(&mut [0])? {
        0 => Ok(KaslrSeed::new(u64::from_le_bytes(bytes))),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "more than a seed")),
    }
}

/// Maps the kernel's `image` where the seed says, for as long as the kernel runs.
pub fn lay_out(image: impl AsFd, seed: &KaslrSeed) -> Result<(), Refusal> {
    let failed = |error: rustix::io::Errno| {
        Refusal::policy(format!("laying the kernel out in memory: {error}"))
    };
    let size = rustix::fs::fstat(&image).map_err(failed)?.st_size;
    let size = usize::try_from(size).unwrap_or_default();
    let at = address(seed) as *mut c_void;
    let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
    // SAFETY: a new mapping that replaces none; nothing of this process holds a reference into it.
    let mapped = unsafe { mmap(at, size, ProtFlags::READ, flags, &image, 0) }.map_err(failed)?;
    // A kernel that does not know the flag takes the address as a wish.
    if mapped == at { Ok(()) } else { Err(failed(rustix::io::Errno::EXIST)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_goes_through_the_pipe_once_and_is_never_printed() {
        let seed = KaslrSeed::new(0x1234_5678_9abc_def0);
        assert_eq!(take(hand_over(&seed).unwrap()).unwrap().number(), seed.number());
        assert_eq!(format!("{seed:?}"), "KaslrSeed(..)");
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&write, &[1; 7]).unwrap();
        drop(write);
        assert!(take(read).is_err());
    }

    #[test]
    fn every_seed_gives_a_page_in_user_space() {
        for number in [0, 1, PAGES - 1, PAGES, u64::MAX] {
            let address = address(&KaslrSeed::new(number));
            assert_eq!(address % PAGE_BYTES, 0);
            assert!((LOWEST..0x6000_0000_0000).contains(&address), "{address:#x}");
        }
    }

    #[test]
    fn the_image_lies_where_the_seed_says() {
        let image = board::exec::sealed("kernel", &[7; 5000]).unwrap();
        let seed = KaslrSeed::new(
            crypto::random_array::<8>().into_iter().fold(0, |n, byte| n << 8 | u64::from(byte)),
        );
        lay_out(&image, &seed).unwrap();
        // SAFETY: it was just mapped for reading, and stays.
        let byte = unsafe { *((address(&seed) + 4999) as *const u8) };
        assert_eq!(byte, 7);
        assert!(lay_out(&image, &seed).is_err(), "it replaces nothing");
    }
}
