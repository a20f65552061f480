//! A device's upload, and the owner's way to it in the console.

use crate::person::{Link, Person};
use http_link::{Client, Connector};
use keycenter_client::{Credential, KeyCenter};
use snapshot::block::{BlockId, DataKey, IdKey};
use snapshot::manifest::{Attributes, Entry, Kind, Manifest, Piece};
use snapshot::pack::PackWriter;
use snapshot::path::TreePath;
use wire::account::OwnerAssertion;
use wire::sync::{Advance, BLOCK_BYTES, Root};

/// A file of one block, a hole, and a rest.
pub(crate) fn content() -> Vec<u8> {
    let mut content = vec![b'a'; BLOCK_BYTES];
    content.resize(3 * BLOCK_BYTES, 0);
    content.extend_from_slice(b"canary-at-the-end");
    content
}

/// Uploads `notes/canary.txt` and an empty folder.
pub(crate) async fn upload(person: &Person, link: &Link) {
    let owner: OwnerAssertion = link.post("/v1/owner-assertion").send_json().await.unwrap();
    let way =
        Client::new(&owner.keycenter_url, owner.keycenter_ca.as_bytes(), Connector::Tcp).unwrap();
    let keys = KeyCenter::new(way, Credential::owner_once(owner.jwt));
    let name = format!("user-{}", person.account_id);
    let (id_key, data_key) =
        (keys.data_key(&name).await.unwrap(), keys.data_key(&name).await.unwrap());
    let ids = IdKey::new(id_key.plaintext.expose());
    let seal = DataKey::new(data_key.plaintext.expose(), &person.account_id);

    let content = content();
    let mut writer = PackWriter::new(&data_key.wrapped).unwrap();
    let mut push = |plaintext: &[u8]| -> BlockId {
        let id = ids.name(plaintext);
        writer.push(&seal, &id, plaintext);
        id
    };
    let first = push(&content[..BLOCK_BYTES]);
    let last = push(&content[3 * BLOCK_BYTES..]);
    let pieces = vec![
        Piece::Block { id: first, pack: 0 },
        Piece::Hole(2),
        Piece::Block { id: last, pack: 0 },
    ];
    let attributes = Attributes { mode: 0o644, mtime_s: 1_700_000_000, mtime_ns: 0 };
    let entry = |path: &str, kind| Entry { path: TreePath::new(path).unwrap(), attributes, kind };
    let file = Kind::File { size: content.len() as u64, pieces };
    // The manifest names the packs of the content; which name it has is the device's business.
    let manifest = Manifest {
        root: attributes,
        packs: vec![snapshot::block::PackId([0; 32])],
        entries: vec![
            entry("empty", Kind::Directory),
            entry("notes", Kind::Directory),
            entry("notes/canary.txt", file),
        ],
    };
    let manifest_id = push(&manifest.encode());
    let pack = writer.finish();

    let root = Root { wrapped_id_key: id_key.wrapped };
    link.put("/v1/sync/root").json(&root).send().await.unwrap();
    let path = format!("/v1/sync/packs/{}", pack.id);
    link.put(&path).bytes(pack.bytes).send().await.unwrap();
    let advance = Advance {
        follows: 0,
        manifest: vec![manifest_id.to_string()],
        packs: vec![pack.id.to_string()],
        files: 1,
        bytes: content.len() as u64,
    };
    link.put("/v1/sync/head").json(&advance).send().await.unwrap();
}
