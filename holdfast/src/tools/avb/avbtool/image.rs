//! An image file, raw or sparse: read anywhere, cut at the end, extended at the end.

use super::python;
use crate::exit::Misused;
use anyhow::{Context, Result, bail, ensure};
use sparse::{Content, HEADER_BYTES, Map};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What an image is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Edit,
}

/// The block of raw images: what goes behind them starts at multiples of it.
const RAW_BLOCK_BYTES: u64 = 4096;

/// Bytes that are read, and written, at a time.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// The most that a vbmeta image, or a part of it, is read into memory. 1024 times what a device
/// accepts.
const METADATA_MAX_BYTES: u64 = 64 << 20;

/// A file that cannot be opened is a wrong command line, as it is to avbtool.
fn cannot_open(option: &str, path: &Path, error: &std::io::Error) -> anyhow::Error {
    let (shown, error) = (path.display(), python::os_error(error, path));
    Misused(format!("error: argument {option}: can't open '{shown}': {error}")).into()
}

/// Opens the file of an image that `option` names.
pub(super) fn open_file(option: &str, path: &Path, access: Access) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::Edit);
    crate::tools::open_image(path, &options).map_err(|error| cannot_open(option, path, &error))
}

/// Reads a small file that `option` names.
pub(super) fn open_input(option: &str, path: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(path).map_err(|error| cannot_open(option, path, &error))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).with_context(|| path.display().to_string())?;
    Ok(bytes)
}

/// An image. Offsets and sizes are those of the image, not of a sparse file.
#[derive(Debug)]
pub(super) struct Image {
    path: PathBuf,
    file: File,
    size: u64,
    map: Option<Map>,
}

impl Image {
    /// Opens the image that `option` names.
    pub(super) fn open(option: &str, path: &Path, access: Access) -> Result<Self> {
        Self::of(path, open_file(option, path, access)?)
    }

    /// Opens the image of a partition that another image speaks about. What the other image
    /// says leads into no other folder.
    pub(super) fn open_sibling(image: &Path, partition: &str) -> Result<Self> {
        ensure!(!partition.contains('/'), "a partition cannot be called {partition:?}");
        let path = python::sibling(image, partition);
        match crate::tools::open_image(&path, OpenOptions::new().read(true)) {
            Ok(file) => Self::of(&path, file),
            Err(error) => bail!("{}", python::os_error(&error, &path)),
        }
    }

    /// The image in an open file; `path` is what people know it by.
    pub(super) fn of(path: &Path, file: File) -> Result<Self> {
        // Block devices have a size too, but only at their end.
        let size = (&file).seek(SeekFrom::End(0)).with_context(|| path.display().to_string())?;
        let mut image = Self { path: path.to_owned(), size, file, map: None };
        let mut head = [0; HEADER_BYTES];
        let have = image.read_file(0, &mut head)?;
        if let Some(header) = sparse::Header::decode(&head[..have])? {
            let map = image.read_map(header).with_context(|| path.display().to_string())?;
            image.size = map.image_size();
            image.map = Some(map);
        }
        Ok(image)
    }

    fn read_map(&self, header: sparse::Header) -> Result<Map> {
        let mut reader = header.reader();
        while let Some(offset) = reader.next_offset() {
            let mut bytes = [0; sparse::CHUNK_HEADER_BYTES + 4];
            let have = self.read_file(offset, &mut bytes)?;
            reader.push(&bytes[..have])?;
        }
        Ok(reader.finish(self.size)?)
    }

    /// The path that it was opened by.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the image.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Whether the file is in the sparse format.
    pub(super) const fn is_sparse(&self) -> bool {
        self.map.is_some()
    }

    /// What is appended starts at multiples of this.
    pub(super) fn block_size(&self) -> u64 {
        self.map.as_ref().map_or(RAW_BLOCK_BYTES, |map| map.header().block_size.into())
    }

    /// The file, for edits that leave its layout alone; none for a sparse one.
    pub(super) const fn raw_file(&self) -> Option<&File> {
        if self.map.is_none() { Some(&self.file) } else { None }
    }

    /// Fills `buffer` from `offset` on; fewer bytes where the image ends.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(offset);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let mut done = 0;
        while done < want {
            let count = self.read_part(offset + done as u64, &mut buffer[done..want])?;
            if count == 0 {
                break;
            }
            done += count;
        }
        Ok(done)
    }

    fn read_part(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(map) = &self.map else { return self.read_file(offset, buffer) };
        let Some(chunk) = map.chunk_at(offset) else { return Ok(0) };
        let inside = offset - chunk.output.start;
        let left = usize::try_from(chunk.output.end - offset).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        let buffer = &mut buffer[..count];
        match chunk.content {
            Content::Raw => return self.read_file(chunk.data_offset() + inside, buffer),
            Content::Fill(value) => {
                let cycle = value.iter().cycle().skip((inside % 4) as usize);
                buffer.iter_mut().zip(cycle).for_each(|(byte, value)| *byte = *value);
            }
            Content::DontCare | Content::Crc32 => buffer.fill(0),
        }
        Ok(count)
    }

    fn read_file(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// The bytes of metadata in `range`, or those of them that the image has.
    pub(super) fn metadata(&self, offset: u64, size: u64) -> Result<Vec<u8>> {
        let size = size.min(self.size.saturating_sub(offset));
        ensure!(size <= METADATA_MAX_BYTES, "{size} bytes of metadata are too many");
        let mut bytes = vec![0; usize::try_from(size)?];
        let have = self.read_at(offset, &mut bytes)?;
        bytes.truncate(have);
        Ok(bytes)
    }

    /// Gives all bytes of `range` to `take`, piece by piece.
    pub(super) fn stream(
        &self,
        range: Range<u64>,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut offset = range.start;
        while offset < range.end {
            let want = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let have = self.read_at(offset, &mut buffer[..want])?;
            if have == 0 {
                break;
            }
            take(&buffer[..have])?;
            offset += have as u64;
        }
        Ok(())
    }

    /// Cuts the image, or extends it with nothing, to `size` bytes.
    pub(super) fn truncate(&mut self, size: u64) -> Result<()> {
        let Some(map) = &mut self.map else {
            self.file.set_len(size)?;
            self.size = size;
            return Ok(());
        };
        if size > self.size {
            return self.append_hole(size - self.size);
        }
        let cut = map.truncate(size)?;
        if let Some((offset, header)) = cut.chunk_header {
            self.file.write_all_at(&header, offset)?;
        }
        self.file.set_len(cut.file_size)?;
        self.write_counts()
    }

    /// Appends `size` bytes that nobody cares about; they read as zeros.
    pub(super) fn append_hole(&mut self, size: u64) -> Result<()> {
        if self.map.is_none() {
            return self.truncate(self.size + size);
        }
        self.append_chunk(Content::DontCare, size, &[])
    }

    /// Appends bytes. To a sparse image they become one chunk; no bytes become none, for libsparse
    /// loses what follows an empty chunk.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.map.is_some() {
            return self.append_chunk(Content::Raw, bytes.len() as u64, bytes);
        }
        self.file.write_all_at(bytes, self.size)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Appends `bytes` and zeros up to the next block.
    pub(super) fn append_padded(&mut self, bytes: &[u8]) -> Result<()> {
        let mut padded = bytes.to_vec();
        let block = usize::try_from(self.block_size())?;
        padded.resize(bytes.len().next_multiple_of(block), 0);
        self.append(&padded)
    }

    /// Appends `size` zeros as a chunk of one value; for sparse images.
    pub(super) fn append_zeros(&mut self, size: u64) -> Result<()> {
        self.append_chunk(Content::Fill([0; 4]), size, &[])
    }

    /// Appends what `source` has in `range`, for sparse images: one chunk of data, or as many as
    /// its 32 bits of size ask for.
    pub(super) fn append_from(&mut self, source: &Self, range: Range<u64>) -> Result<()> {
        let most = (1 << 31) / self.block_size() * self.block_size();
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + most);
            let map = self.map.as_mut().context("the image is not sparse")?;
            let mut at = map.file_size();
            let header = map.append(Content::Raw, end - start)?;
            self.file.write_all_at(&header, at)?;
            at += header.len() as u64;
            let file = &self.file;
            source.stream(start..end, |bytes| {
                file.write_all_at(bytes, at)?;
                at += bytes.len() as u64;
                Ok(())
            })?;
            start = end;
        }
        self.write_counts()
    }

    fn append_chunk(&mut self, content: Content, size: u64, data: &[u8]) -> Result<()> {
        let map = self.map.as_mut().context("the image is not sparse")?;
        let at = map.file_size();
        let mut bytes = map.append(content, size)?;
        bytes.extend(data);
        self.file.write_all_at(&bytes, at)?;
        self.write_counts()
    }

    fn write_counts(&mut self) -> Result<()> {
        if let Some(map) = &self.map {
            self.file.write_all_at(&map.counts(), 16)?;
            self.size = map.image_size();
        }
        Ok(())
    }
}
