//! What the trusted OS refuses is in its own log.

use crate::device::Device;
use board::channel;
use board::report::RefusalKind;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
use tee_api::gatekeeper::{Command, Gatekeeper};
use tee_api::ree::{Reply, Request};
use tee_client::TeeError;

#[test]
fn s2_1_1_what_is_refused_is_in_the_trusted_os_s_own_log() {
    let Some(device) = Device::new() else { return };
    let tee = device.tee();
    let lock = tee.session::<Gatekeeper>().unwrap();
    for count in 1..=3 {
        let refused = lock.call(Command::SetTime { token: "a.b.c".into() });
        assert!(matches!(refused, Err(TeeError::Security(_))));
        device.log.wait_for_refusals(RefusalKind::Security, count);
    }
    let raw = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&raw, &SocketAddrUnix::new(tee.path()).unwrap()).unwrap();
    channel::send(&raw, &Request::Close { session: 77 }).unwrap();
    assert!(matches!(channel::receive(&raw), Ok(Reply::Refused(TeeError::NotFound(_)))));
    device.log.wait_for_refusals(RefusalKind::NotFound, 1);
    rustix::io::write(&raw, b"\xFF\xFF").unwrap();
    device.log.wait_for_refusals(RefusalKind::Message, 1);
}
