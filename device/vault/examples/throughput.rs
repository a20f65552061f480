//! How fast a folder goes into an area and comes out again.
//!
//! `cargo run -p vault --example throughput -- [--mib N] [--files N]` makes a folder of mixed
//! files (three quarters of the bytes in files of 128 MiB at most, the rest in N small ones),
//! copies it with `cp -r`, imports it, exports it, and prints MB/s and CPU seconds of each.

use crypto::secret::Secret;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use vault::{Area, export_tar, import_tar};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, otherwise: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(otherwise)
    };
    let (mib, files) = (number("--mib", 256), number("--files", 2500));
    let base = tempfile::tempdir()?;
    let folder = base.path().join("folder");
    make_folder(&folder, mib << 20, files)?;
    let megabytes = (mib << 20) as f64 / 1e6;
    let (copy, area) = (base.path().join("copy"), base.path().join("ce"));
    measure("cp -r", megabytes, || {
        let copied = Command::new("cp").arg("-r").arg(&folder).arg(&copy).status()?;
        let root = File::open(&copy)?;
        rustix::fs::syncfs(&root)?;
        if copied.success() { Ok(()) } else { Err("cp failed".into()) }
    })?;
    let area = Area::create(&area, &Secret::new([7; 32]))?;
    measure("import", megabytes, || {
        let (reader, writer) = io::pipe()?;
        std::thread::scope(|scope| {
            let packer = scope.spawn(|| {
                treetar::pack_folder(&folder, BufWriter::with_capacity(256 << 10, writer))
            });
            let imported = import_tar(BufReader::with_capacity(256 << 10, reader), &area);
            packer.join().map_err(|_| "the packer panicked")??;
            assert_eq!(imported?.skipped, []);
            Ok(())
        })
    })?;
    measure("export", megabytes, || {
        export_tar(&area, BufWriter::with_capacity(256 << 10, io::sink()))?;
        Ok(())
    })?;
    measure("tar of the folder", megabytes, || {
        let mut tar = Command::new("tar");
        tar.arg("-cf-").arg("-C").arg(&folder).arg(".").stdout(Stdio::piped());
        let mut child = tar.spawn()?;
        io::copy(&mut child.stdout.take().ok_or("no output")?, &mut io::sink())?;
        child.wait()?;
        Ok(())
    })
}

fn make_folder(folder: &Path, bytes: usize, files: usize) -> io::Result<()> {
    fs::create_dir(folder)?;
    let mut noise = vec![0; 1 << 20];
    crypto::random(&mut noise);
    let small = (bytes / 4).checked_div(files).unwrap_or(0);
    for number in 0..files {
        let within = folder.join(format!("d{}", number / 100));
        fs::create_dir_all(&within)?;
        let at = number * 7919 % (noise.len() - 2 * small.min(noise.len() / 4));
        fs::write(within.join(format!("f{number}")), &noise[at..at + small])?;
    }
    let mut left = bytes - small * files;
    let mut number = 0;
    while left > 0 {
        let mut file = File::create(folder.join(format!("large{number}")))?;
        let size = left.min(128 << 20);
        for start in (0..size).step_by(noise.len()) {
            noise[..8].copy_from_slice(&(number * size + start).to_le_bytes());
            file.write_all(&noise[..noise.len().min(size - start)])?;
        }
        left -= size;
        number += 1;
    }
    rustix::fs::syncfs(File::open(folder)?)?;
    Ok(())
}

fn measure(
    what: &str,
    megabytes: f64,
    run: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    run()?;
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    println!("{what:20} {:7.0} MB/s  {wall:6.2} s  {cpu:6.2} CPU s", megabytes / wall);
    Ok(())
}

/// User and system time of this process and its ended children.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().ok_or("no fields")?.split_whitespace();
    let ticks = fields.skip(11).take(4).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
}
