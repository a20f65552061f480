//! The kernel's MMC ioctls (`linux/mmc/ioctl.h`), as batches for the chip.

use crate::connection::Chip;
use crate::wire::{self, Command, FRAME, MAX_COMMANDS, MAX_FRAMES};
use libc::{c_int, c_uint, c_void};
use std::io::ErrorKind;
use std::slice;

/// `struct mmc_ioc_cmd`.
#[repr(C)]
struct IocCommand {
    write_flag: c_int,
    is_acmd: c_int,
    opcode: u32,
    argument: u32,
    response: [u32; 4],
    flags: c_uint,
    block_bytes: c_uint,
    blocks: c_uint,
    sleep_min_us: c_uint,
    sleep_max_us: c_uint,
    data_timeout_ns: c_uint,
    command_timeout_ms: c_uint,
    padding: u32,
    data: u64,
}

/// `_IOWR(179, number, size)`.
const fn request(number: c_uint, bytes: usize) -> c_uint {
    3 << 30 | (bytes as c_uint) << 16 | 179 << 8 | number
}

const ONE: c_uint = request(0, size_of::<IocCommand>());
const MANY: c_uint = request(1, size_of::<u64>());

/// Which ioctl it is.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// `MMC_IOC_CMD`: one command.
    One,
    /// `MMC_IOC_MULTI_CMD`: their number, then the commands.
    Many,
}

impl Kind {
    /// From the request.
    pub(crate) fn of(request: c_uint) -> Option<Self> {
        match request {
            ONE => Some(Self::One),
            MANY => Some(Self::Many),
            _ => None,
        }
    }
}

/// Does what the ioctl asks; the error is an `errno`.
///
/// # Safety
/// `argument` points to a `mmc_ioc_cmd` or a `mmc_ioc_multi_cmd`, as `kind` says, and these point
/// to as much data as they say.
pub(crate) unsafe fn run(kind: Kind, argument: *mut c_void, chip: &mut Chip) -> Result<(), c_int> {
    if argument.is_null() {
        return Err(libc::EFAULT);
    }
    // SAFETY: the caller's promise.
    let commands = unsafe { commands(kind, argument)? };
    let mut batch = Vec::with_capacity(commands.len());
    for command in commands.iter() {
        // SAFETY: the caller's promise.
        batch.push(unsafe { encode(command)? });
    }
    let socket = chip.socket();
    let errno = |error: std::io::Error| match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::InvalidData => libc::EINVAL,
        _ => error.raw_os_error().unwrap_or(libc::EIO),
    };
    wire::send(socket, &batch).map_err(errno)?;
    let reads = wire::receive_answer(socket, &batch).map_err(errno)?;
    let readers = commands.iter_mut().filter(|command| command.opcode == u32::from(wire::READ));
    for (command, frames) in readers.zip(reads) {
        // SAFETY: the answer has as many frames as `encode` asked for, and so much space is there.
        unsafe { data(command)? }.copy_from_slice(&frames);
    }
    for command in commands.iter_mut() {
        command.response = [0; 4];
    }
    Ok(())
}

/// # Safety
/// See [`run`].
unsafe fn commands<'a>(kind: Kind, argument: *mut c_void) -> Result<&'a mut [IocCommand], c_int> {
    let (first, count) = match kind {
        Kind::One => (argument.cast::<IocCommand>(), 1),
        Kind::Many => {
            let head = argument.cast::<u64>();
            // SAFETY: the number of commands, of 8 bytes, comes first; the commands follow it.
            unsafe { (head.add(1).cast::<IocCommand>(), *head) }
        }
    };
    let count = usize::try_from(count).map_err(|_| libc::EINVAL)?;
    if count > MAX_COMMANDS {
        return Err(libc::EINVAL);
    }
    // SAFETY: so many commands are there, and nobody else uses them during the call.
    Ok(unsafe { slice::from_raw_parts_mut(first, count) })
}

/// # Safety
/// See [`run`].
unsafe fn encode(command: &IocCommand) -> Result<Command, c_int> {
    // SAFETY: the caller's promise.
    let data = unsafe { data(command)? };
    match u8::try_from(command.opcode) {
        Ok(wire::WRITE) if command.write_flag != 0 => Ok(Command::Write(data.to_vec())),
        Ok(wire::READ) if command.write_flag == 0 => Ok(Command::Read(command.blocks as u16)),
        _ => Err(libc::EINVAL),
    }
}

/// # Safety
/// See [`run`].
unsafe fn data<'a>(command: &IocCommand) -> Result<&'a mut [u8], c_int> {
    let frames = u16::try_from(command.blocks).ok().filter(|&frames| frames <= MAX_FRAMES);
    let frames = frames.filter(|&frames| frames > 0 && command.block_bytes as usize == FRAME);
    let frames = frames.ok_or(libc::EINVAL)?;
    let pointer = command.data as usize as *mut u8;
    if pointer.is_null() {
        return Err(libc::EFAULT);
    }
    // SAFETY: so many bytes are there, and nobody else uses them during the call.
    Ok(unsafe { slice::from_raw_parts_mut(pointer, usize::from(frames) * FRAME) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ioctl_numbers_are_the_kernels() {
        assert_eq!((ONE, MANY), (0xc048_b300, 0xc008_b301));
    }
}
