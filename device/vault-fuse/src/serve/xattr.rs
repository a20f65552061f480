//! Extended attributes: sealed, in extended attributes of the backing file.
//!
//! The backing name is `user.holdfast.` and the first 16 bytes of an HMAC of the name; the value is
//! sealed with the name in front of it, and bound to the file's or directory's id.

use super::node::{Held, Node, path_of};
use super::{FileSystem, field};
use crate::error::{Damage, Error};
use crate::format::page::Id;
use crate::wire::{Fields, Header, Reply};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rustix::fs::{FileType, XattrFlags, getxattr, listxattr, removexattr, setxattr};
use rustix::io::Errno;

const PREFIX: &str = "user.holdfast.";
/// The longest value that Linux takes.
const MAX_VALUE_BYTES: usize = 64 * 1024;
/// What the kernel would believe, and access control lists: they need more than to be kept.
const REFUSED: [&[u8]; 2] = [b"system.", b"security.capability"];
const FOR_ROOT: &[u8] = b"trusted.";
/// Bytes of `fuse_setxattr_in` as it is without `FUSE_SETXATTR_EXT`.
const SET_IN_BYTES: usize = 8;
/// Bytes of `fuse_getxattr_in`.
const GET_IN_BYTES: usize = 8;

/// The backing file of an attribute: what keeps it open, its path, its id.
struct Owner {
    _held: Held,
    path: String,
    id: Id,
}

impl FileSystem {
    pub(super) fn set_xattr(&self, node: &Node, fields: Fields<'_>) -> Result<(), Error> {
        let (size, flags) = (field(fields.u32(0))? as usize, field(fields.u32(4))?);
        let (name, rest) = field(fields.name(SET_IN_BYTES))?;
        let value = field(rest.0.get(..size))?;
        let owner = self.owner(node, name)?;
        let sealed = self.tree.keys.attributes.seal(&owner.id, &[name, &[0], value].concat());
        let flags = XattrFlags::from_bits_retain(flags);
        match setxattr(&*owner.path, self.backing_xattr(name), &sealed, flags) {
            // Past what the backing file system keeps.
            Err(Errno::RANGE) => Err(Error::Os(Errno::NOSPC)),
            set => Ok(set?),
        }
    }

    pub(super) fn get_xattr(
        &self,
        node: &Node,
        fields: Fields<'_>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let room = field(fields.u32(0))? as usize;
        let (name, _) = field(fields.name(GET_IN_BYTES))?;
        let owner = self.owner(node, name)?;
        let (found, value) = self.open_xattr(&owner, &self.backing_xattr(name))?;
        if found != name {
            return Err(Error::Damaged(Damage::Attribute));
        }
        answer(&value, room, reply)
    }

    pub(super) fn list_xattr(
        &self,
        header: Header,
        node: &Node,
        fields: Fields<'_>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let room = field(fields.u32(0))? as usize;
        let owner = match self.owner(node, b"user.") {
            Err(Error::Os(Errno::OPNOTSUPP)) => return answer(&[], room, reply),
            owner => owner?,
        };
        let mut names = Vec::new();
        for backing in backing_names(&owner)? {
            let (name, _) = self.open_xattr(&owner, &backing)?;
            if header.uid == 0 || !name.starts_with(FOR_ROOT) {
                names.extend(name);
                names.push(0);
            }
        }
        answer(&names, room, reply)
    }

    pub(super) fn remove_xattr(&self, node: &Node, fields: Fields<'_>) -> Result<(), Error> {
        let (name, _) = field(fields.name(0))?;
        let owner = self.owner(node, name)?;
        Ok(removexattr(&*owner.path, self.backing_xattr(name))?)
    }

    /// Only files and directories have backing attributes.
    fn owner(&self, node: &Node, name: &[u8]) -> Result<Owner, Error> {
        if REFUSED.iter().any(|refused| name.starts_with(refused)) {
            return Err(Error::Os(Errno::OPNOTSUPP));
        }
        let id = match node.kind {
            FileType::RegularFile => *node.file(&self.tree, &self.table)?.id(),
            FileType::Directory => node.directory(&self.tree)?.id,
            _ => return Err(Error::Os(Errno::OPNOTSUPP)),
        };
        let (held, path) = path_of(node, &self.tree)?;
        Ok(Owner { _held: held, path, id })
    }

    fn backing_xattr(&self, name: &[u8]) -> String {
        let key = self.tree.keys.attribute_names.expose();
        let hash = crypto::mac::hmac_sha256(key, &[name]);
        format!("{PREFIX}{}", BASE64.encode(&hash[..16]))
    }

    /// The name and the value in a backing attribute.
    fn open_xattr(&self, owner: &Owner, backing: &str) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let mut sealed = vec![0; MAX_VALUE_BYTES];
        let length = getxattr(&*owner.path, backing, &mut sealed[..])?;
        let opened = self.tree.keys.attributes.open(&owner.id, &sealed[..length]);
        let mut name = opened.map_err(|_| Error::Damaged(Damage::Attribute))?;
        let end = name.iter().position(|byte| *byte == 0);
        let value = name.split_off(end.ok_or(Error::Damaged(Damage::Attribute))?);
        Ok((name, value[1..].to_vec()))
    }
}

/// The backing attributes that are ours.
fn backing_names(owner: &Owner) -> Result<Vec<String>, Errno> {
    let mut list = vec![0_u8; MAX_VALUE_BYTES];
    let length = listxattr(&*owner.path, &mut list[..])?;
    let names = list[..length].split(|byte| *byte == 0);
    let names = names.filter_map(|name| std::str::from_utf8(name).ok());
    Ok(names.filter(|name| name.starts_with(PREFIX)).map(str::to_owned).collect())
}

/// The value, or its length where no room was offered. `ERANGE` where the room is too small.
fn answer(value: &[u8], room: usize, reply: &mut Reply) -> Result<(), Error> {
    match room {
        0 => {
            reply.u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
            reply.u32(0);
        }
        room if room < value.len() => return Err(Error::Os(Errno::RANGE)),
        _ => reply.bytes(value),
    }
    Ok(())
}
