//! What lies below an encrypted directory, out of the raw disk.

use crate::ext4::{Ext4, Inode};
use fscrypt::{Context, Error, Owner, symlink_ciphertext};
use std::collections::BTreeMap;

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    Directory,
    File(Vec<u8>),
    Link(String),
}

/// Opens all that is below `directory` with a master key.
pub(crate) fn below(
    disk: &Ext4,
    directory: &Inode,
    master: &[u8],
) -> Result<BTreeMap<String, Plain>, Error> {
    let mut found = BTreeMap::new();
    let (context, owner) = about(disk, directory)?;
    let names = context.names(master, &owner)?;
    for (sealed, number) in disk.entries(directory) {
        let name = String::from_utf8(names.open(&sealed)?).expect("names are text");
        let inode = disk.inode(number);
        if inode.is_directory() {
            for (path, plain) in below(disk, &inode, master)? {
                found.insert(format!("{name}/{path}"), plain);
            }
            found.insert(name, Plain::Directory);
        } else if inode.is_link() {
            found.insert(name, link(disk, &inode, master)?);
        } else {
            found.insert(name, file(disk, &inode, master)?);
        }
    }
    Ok(found)
}

fn about(disk: &Ext4, inode: &Inode) -> Result<(Context, Owner), Error> {
    let context = Context::decode(inode.context().expect("it is encrypted"))?;
    assert_eq!(Some(&context.encode()[..]), inode.context());
    Ok((context, Owner { uuid: disk.uuid(), inode: inode.number }))
}

fn file(disk: &Ext4, inode: &Inode, master: &[u8]) -> Result<Plain, Error> {
    let (context, owner) = about(disk, inode)?;
    let contents = context.contents(master, &owner)?;
    let unit = context.policy.data_unit_bytes(disk.block_bytes());
    let mut plain = vec![0; (inode.size() as usize).next_multiple_of(disk.block_bytes())];
    for (number, sealed) in disk.blocks(inode) {
        let start = number as usize * disk.block_bytes();
        let Some(block) = plain.get_mut(start..start + sealed.len()) else { continue };
        block.copy_from_slice(sealed);
        for (index, unit_bytes) in block.chunks_mut(unit).enumerate() {
            contents.open((start / unit + index) as u64, unit_bytes)?;
        }
    }
    plain.truncate(inode.size() as usize);
    Ok(Plain::File(plain))
}

fn link(disk: &Ext4, inode: &Inode, master: &[u8]) -> Result<Plain, Error> {
    let (context, owner) = about(disk, inode)?;
    let blocks = disk.blocks(inode);
    let content = blocks.values().next().copied().unwrap_or_else(|| inode.inline());
    let target = context.names(master, &owner)?.open(symlink_ciphertext(content)?)?;
    Ok(Plain::Link(String::from_utf8(target).expect("targets are text")))
}
