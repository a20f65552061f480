//! APDU round trips through pcscd: `round-trips READER SECONDS` prints how many a second.

use secure_element::SecureElement as _;
use secure_element::pcsc::Pcscd;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let reader = arguments.next().ok_or("usage: round-trips READER SECONDS")?;
    let seconds: f64 = arguments.next().ok_or("usage: round-trips READER SECONDS")?.parse()?;
    let mut card = Pcscd::connect()?.card(&reader)?;
    let select = [0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0x00, 0x00, 0x03, 0x08, 0x00];
    let (start, limit) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut count = 0_u32;
    while start.elapsed() < limit {
        let answer = card.transmit(&select)?;
        if !answer.ends_with(&[0x90, 0x00]) {
            return Err("the card refused".into());
        }
        count += 1;
    }
    println!("{:.0}", f64::from(count) / start.elapsed().as_secs_f64());
    Ok(())
}
