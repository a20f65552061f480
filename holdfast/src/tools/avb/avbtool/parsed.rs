//! Footer, header and descriptors of an image, as avbtool reads them.

use super::image::Image;
use anyhow::{Result, anyhow, bail};
use avb::{DecodeError, Descriptor, FOOTER_BYTES, Footer, HEADER_BYTES, Header};

/// What an image says about itself: a vbmeta image, or one with a footer.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) footer: Option<Footer>,
    pub(super) header: Header,
    pub(super) descriptors: Vec<Descriptor>,
}

impl Parsed {
    /// Reads them. Nothing is verified.
    pub(super) fn of(image: &Image) -> Result<Self> {
        let footer = footer(image)?;
        let offset = footer.map_or(0, |footer| footer.vbmeta_offset);
        let header = header(image, offset)?;
        let area = [HEADER_BYTES as u64, header.authentication_size, header.descriptors.offset];
        let start = area.iter().try_fold(offset, |sum, part| sum.checked_add(*part));
        let start =
            start.ok_or_else(|| anyhow!("the descriptors are nowhere: offsets overflow"))?;
        let bytes = image.metadata(start, header.descriptors.size)?;
        if (bytes.len() as u64) < header.descriptors.size {
            bail!("the image ends inside its descriptors");
        }
        Ok(Self { footer, descriptors: Descriptor::inspect_all(&bytes)?, header })
    }

    /// Where the vbmeta image starts.
    pub(super) fn vbmeta_offset(&self) -> u64 {
        self.footer.map_or(0, |footer| footer.vbmeta_offset)
    }

    /// The bytes of the vbmeta image, as its header counts them.
    pub(super) fn vbmeta(&self, image: &Image) -> Result<Vec<u8>> {
        let parts = [self.header.authentication_size, self.header.auxiliary_size];
        let size = parts.iter().try_fold(HEADER_BYTES as u64, |sum, part| sum.checked_add(*part));
        let size = size.ok_or_else(|| anyhow!("the sizes in the vbmeta header overflow"))?;
        image.metadata(self.vbmeta_offset(), size)
    }

    /// The hash tree descriptor, the first if there are several.
    pub(super) fn hashtree(&self) -> Option<&avb::HashtreeDescriptor> {
        self.descriptors.iter().find_map(|descriptor| match descriptor {
            Descriptor::Hashtree(hashtree) => Some(hashtree),
            _ => None,
        })
    }

    /// The footer, for commands that need one.
    pub(super) fn need_footer(&self) -> Result<Footer> {
        self.footer.ok_or_else(|| anyhow!("Given image does not have a footer."))
    }
}

/// The footer at the end of `image`, if there is one.
pub(super) fn footer(image: &Image) -> Result<Option<Footer>> {
    let Some(start) = image.size().checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
    let mut bytes = [0; FOOTER_BYTES];
    image.read_at(start, &mut bytes)?;
    Ok(Footer::inspect(&bytes))
}

fn header(image: &Image, offset: u64) -> Result<Header> {
    let mut bytes = [0; HEADER_BYTES];
    if image.read_at(offset, &mut bytes)? < HEADER_BYTES {
        bail!("Given image does not look like a vbmeta image.");
    }
    Header::inspect(&bytes).map_err(|error| match error {
        DecodeError::Magic { .. } => anyhow!("Given image does not look like a vbmeta image."),
        DecodeError::UnsupportedAlgorithm(number) => anyhow!("Unknown algorithm type {number}"),
        error => error.into(),
    })
}
