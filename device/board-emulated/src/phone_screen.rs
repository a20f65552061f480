//! The phone's display over a cable: a relay of plain bytes between a loopback port and the
//! system's own `screen.sock`. The board does not look into them.

use crate::sockets::connect_to;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;

const SOCKET: &str = "screen.sock";
/// The most connections at once.
const MAX_CONNECTIONS: usize = 64;

/// Relays connections of `listener` to the socket in the folder `run`, for ever.
pub async fn relay(listener: TcpListener, run: PathBuf) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((browser, _)) = listener.accept().await else {
            // Out of descriptors, say: some come back as connections end.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let run = run.clone();
        tokio::spawn(async move {
            let _place = place;
            // A connection that breaks is the browser's to repeat.
            let _ = carry(browser, &run).await;
        });
    }
}

async fn carry(mut browser: TcpStream, run: &Path) -> io::Result<()> {
    let system = std::os::unix::net::UnixStream::from(connect_to(run, SOCKET)?);
    system.set_nonblocking(true)?;
    let mut system = UnixStream::from_std(system)?;
    browser.set_nodelay(true)?;
    copy_bidirectional(&mut browser, &mut system).await?;
    Ok(())
}
