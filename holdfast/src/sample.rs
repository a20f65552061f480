//! The folder of a story that was told no other: small, and with everything in it that a folder
//! can hold.

use anyhow::{Context, Result};
use std::fs::{File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const LETTER: &str = "Dear reader,\n\nthis letter was encrypted on a device that was lost, erased \
and found again.\nIf you can read it, the story held.\n\nYours, the holdfast\n";

/// Makes the sample in `folder`, where it is not there yet.
pub(crate) fn make(folder: &Path) -> Result<()> {
    if folder.join("links/letter").is_symlink() {
        return Ok(());
    }
    write(folder).with_context(|| format!("the sample can't be written to {}", folder.display()))
}

fn write(folder: &Path) -> std::io::Result<()> {
    for sub in ["letters", "pictures/summer", "music", "links", "empty folder"] {
        std::fs::create_dir_all(folder.join(sub))?;
    }
    std::fs::write(folder.join("letters/to the reader.txt"), LETTER)?;
    std::fs::write(folder.join("letters/Grüße – 你好 – سلام.txt"), LETTER)?;
    std::fs::write(folder.join("letters/.hidden"), "seen only by those who look\n")?;
    std::fs::write(folder.join("empty"), "")?;
    for number in 0..12 {
        let name = format!("pictures/summer/kelp {number:02}.ppm");
        std::fs::write(folder.join(name), picture(number))?;
    }
    std::fs::write(folder.join("music/tide.wav"), tide())?;
    let mut sparse = File::create(folder.join("music/a long silence.raw"))?;
    sparse.write_all(b"it begins")?;
    sparse.seek(SeekFrom::Start(32 << 20))?;
    sparse.write_all(b"it ends")?;
    let script = folder.join("run me.sh");
    std::fs::write(&script, "#!/bin/sh\necho hold fast\n")?;
    std::fs::set_permissions(&script, Permissions::from_mode(0o750))?;
    let _ = std::fs::remove_file(folder.join("links/the same letter"));
    std::fs::hard_link(
        folder.join("letters/to the reader.txt"),
        folder.join("links/the same letter"),
    )?;
    symlink("/nowhere/at all", folder.join("links/dangling")).or_else(exists)?;
    // Last: its presence says that the sample is whole.
    symlink("../letters/to the reader.txt", folder.join("links/letter")).or_else(exists)
}

fn exists(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

/// A frond of kelp on water, 320 by 240, as a binary portable pixmap.
fn picture(number: u32) -> Vec<u8> {
    let mut pixels = b"P6 320 240 255\n".to_vec();
    for y in 0..240_u32 {
        for x in 0..320_u32 {
            let sway = f64::from(y) / 30.0 + f64::from(number);
            let stem = 160.0 + 60.0 * sway.sin();
            let near = (f64::from(x) - stem).abs() < 12.0 - f64::from(y % 40) / 5.0;
            let shade = u8::try_from((x * 7 + y * 13 + number * 31) % 24).unwrap_or(0);
            let pixel =
                if near { [60 + shade, 110 + shade, 40] } else { [10, 60 + shade, 120 + shade] };
            pixels.extend_from_slice(&pixel);
        }
    }
    pixels
}

/// Four seconds of surf: 8-bit mono at 8 kHz, as WAVE.
fn tide() -> Vec<u8> {
    const SAMPLES: u32 = 32_000;
    let mut wave = b"RIFF".to_vec();
    wave.extend((36 + SAMPLES).to_le_bytes());
    wave.extend(b"WAVEfmt ");
    wave.extend(16_u32.to_le_bytes());
    wave.extend([1, 0, 1, 0]);
    wave.extend(8000_u32.to_le_bytes());
    wave.extend(8000_u32.to_le_bytes());
    wave.extend([1, 0, 8, 0]);
    wave.extend(b"data");
    wave.extend(SAMPLES.to_le_bytes());
    let mut noise = 0x1234_5678_u32;
    for sample in 0..SAMPLES {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        let swell = (f64::from(sample) / 8000.0 * std::f64::consts::PI / 2.0).sin().abs();
        let value = 128.0 + swell * (f64::from(noise % 101) - 50.0);
        wave.push(value as u8);
    }
    wave
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sample_is_made_once_and_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        super::make(folder.path()).unwrap();
        let made = std::fs::metadata(folder.path().join("music/tide.wav")).unwrap().modified();
        super::make(folder.path()).unwrap();
        let again = std::fs::metadata(folder.path().join("music/tide.wav")).unwrap().modified();
        assert_eq!(made.unwrap(), again.unwrap());
        assert!(folder.path().join("links/letter").exists());
    }
}
