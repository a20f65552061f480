//! The engine's ways for many messages, for large ones in shared memory, and for what takes long.

use crate::device::Device;
use crate::probe::{Command as Try, Probe, Reply as Tried};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use tee_api::ree::{MAX_SHARED_BYTES, Reply, Request};
use tee_client::{SharedMemory, TeeError};

const MIB: usize = 1 << 20;

fn encrypt(bytes: usize, output: usize) -> Try {
    Try::OnMemory { encrypt: true, offset: 0, bytes: bytes as u32, output: output as u32 }
}

fn decrypt(offset: usize, bytes: usize, output: usize) -> Try {
    let [offset, bytes, output] = [offset, bytes, output].map(|it| it as u32);
    Try::OnMemory { encrypt: false, offset, bytes, output }
}

#[test]
fn s2_1_4_many_messages_are_signed_at_once() {
    let Some(device) = Device::new() else { return };
    let session = device.tee().session::<Probe>().unwrap();
    for count in [0, 1, 2, 33, 64] {
        let valid = Tried::Number(usize::from(count));
        assert_eq!(session.call(Try::SignAll(count)), Ok(valid));
    }
    assert!(matches!(session.call(Try::SignAll(65)), Err(TeeError::BadParameters(_))));
}

#[test]
fn s2_1_1_others_are_served_while_a_key_is_made_that_takes_long() {
    let Some(device) = Device::new() else { return };
    let slow = device.tee().session::<Probe>().unwrap();
    let made = std::thread::spawn(move || slow.call(Try::SlowKey));
    let gatekeeper = device.tee().session::<tee_api::gatekeeper::Gatekeeper>().unwrap();
    while !made.is_finished() {
        gatekeeper.call(tee_api::gatekeeper::Command::Status).unwrap();
    }
    assert_eq!(made.join().unwrap(), Ok(Tried::Done));
}

#[test]
fn s2_1_1_a_ta_that_dies_over_a_slow_key_starts_clean() {
    let Some(device) = Device::new() else { return };
    let session = device.tee().session::<Probe>().unwrap();
    assert_eq!(session.call(Try::Nothing), Ok(Tried::Done));
    let pid = device.log.processes("ta-probe", 1)[0];
    let slow = std::thread::spawn(move || session.call(Try::SlowKey));
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // Killed before it heard of it, or in the middle.
    let outcome = slow.join().unwrap();
    assert!(matches!(outcome, Err(TeeError::TargetDead) | Ok(Tried::Done)), "{outcome:?}");
    let again = device.tee().session::<Probe>().unwrap();
    assert_eq!(again.call(Try::SlowKey), Ok(Tried::Done));
}

#[test]
fn s2_1_4_a_large_message_is_worked_on_in_the_callers_memory() {
    let Some(device) = Device::new() else { return };
    let session = device.tee().session::<Probe>().unwrap();
    let mut memory = SharedMemory::new(3 * MIB).unwrap();
    let text: Vec<u8> = (0..MIB).map(|at| (at % 251) as u8).collect();
    memory.write(0, &text).unwrap();
    let sealed = session.call_with_memory(encrypt(MIB, MIB), &mut memory);
    assert_eq!(sealed, Ok(Tried::Number(MIB + 16)));
    let mut ciphertext = vec![0; MIB + 16];
    memory.read(MIB, &mut ciphertext).unwrap();
    assert_ne!(ciphertext[..MIB], text);

    memory.write(0, &vec![0; MIB]).unwrap();
    let opened = session.call_with_memory(decrypt(MIB, MIB + 16, 0), &mut memory);
    assert_eq!(opened, Ok(Tried::Number(MIB)));
    let mut plaintext = vec![0; MIB];
    memory.read(0, &mut plaintext).unwrap();
    assert_eq!(plaintext, text);

    // One bit, and nothing comes out.
    memory.write(0, &vec![0; MIB]).unwrap();
    memory.write(MIB + 5, &[ciphertext[5] ^ 1]).unwrap();
    let refused = session.call_with_memory(decrypt(MIB, MIB + 16, 0), &mut memory);
    assert!(matches!(refused, Err(TeeError::Security(_))), "{refused:?}");
    memory.read(0, &mut plaintext).unwrap();
    assert!(plaintext.iter().all(|byte| *byte == 0));
}

#[test]
fn s2_1_4_in_place_and_at_the_very_ends_of_the_memory() {
    let Some(device) = Device::new() else { return };
    let session = device.tee().session::<Probe>().unwrap();
    let mut memory = SharedMemory::new(116).unwrap();
    memory.write(0, &[0x5A; 100]).unwrap();
    assert_eq!(session.call_with_memory(encrypt(100, 0), &mut memory), Ok(Tried::Number(116)));
    assert_eq!(session.call_with_memory(decrypt(0, 116, 0), &mut memory), Ok(Tried::Number(100)));
    let mut text = [0; 100];
    memory.read(0, &mut text).unwrap();
    assert_eq!(text, [0x5A; 100]);
    for (command, what) in [
        (encrypt(100, 1), "the result ends behind the memory"),
        (encrypt(117, 0), "the message ends behind the memory"),
        (decrypt(u32::MAX as usize, 1, 0), "the message begins behind the memory"),
    ] {
        let refused = session.call_with_memory(command, &mut memory);
        assert!(matches!(refused, Err(TeeError::BadState(_))), "{what}: {refused:?}");
    }
    let too_much = session.call_with_memory(decrypt(0, u32::MAX as usize, 0), &mut memory);
    assert!(matches!(too_much, Err(TeeError::BadParameters(_))), "{too_much:?}");
}

#[test]
fn s2_1_1_memory_belongs_to_the_connection_that_shares_it() {
    let Some(device) = Device::new() else { return };
    let nothing_shared = device.tee().session::<Probe>().unwrap();
    let refused = nothing_shared.call(encrypt(1, 0));
    assert!(matches!(refused, Err(TeeError::BadState(_))), "{refused:?}");
    let session = device.tee().session::<Probe>().unwrap();
    let mut memory = SharedMemory::new(64).unwrap();
    assert_eq!(session.call_with_memory(encrypt(1, 0), &mut memory), Ok(Tried::Number(17)));
    assert!(matches!(nothing_shared.call(encrypt(1, 0)), Err(TeeError::BadState(_))));
}

#[test]
fn s2_1_1_only_memory_that_cannot_shrink_is_taken() {
    let Some(device) = Device::new() else { return };
    let memory = |bytes: u64, seals: SealFlags| {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("shared", flags).unwrap();
        ftruncate(&file, bytes).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        file
    };
    let share = |fds: &[&OwnedFd]| {
        let connection = crate::connect(&device.tee());
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        board::channel::send_with_fds(&connection, &Request::Share, &fds).unwrap();
        board::channel::receive::<Reply>(&connection).unwrap()
    };
    let good = memory(64, SealFlags::SHRINK);
    assert!(matches!(share(&[&good]), Reply::Shared));
    let growing = memory(64, SealFlags::GROW);
    let huge = memory(MAX_SHARED_BYTES + 1, SealFlags::SHRINK);
    let none = memory(0, SealFlags::SHRINK);
    let file = OwnedFd::from(tempfile::tempfile().unwrap());
    let (pipe, _write) = rustix::pipe::pipe().unwrap();
    for fds in [&[][..], &[&good, &good], &[&growing], &[&huge], &[&none], &[&file], &[&pipe]] {
        assert!(matches!(share(fds), Reply::Refused(TeeError::BadParameters(_))), "{fds:?}");
    }
}
