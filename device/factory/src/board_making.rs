//! A board: its fuses are blown, its RPMB chip is soldered in.

use board::secure::{BL1_COUNTER, TEE_COUNTER};
use board_emulated::backend::Backend;
use board_emulated::fuses::{Blank, FILE, FuseError, Fuses};
use board_emulated::rpmb_store;
use board_emulated::silicon::PowerUpError;
use crypto::secret::Secret;
use effects::{Entropy, random_array};
use std::path::Path;

/// What is burnt into a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardOrder {
    /// 1 to 32 letters, digits and dashes.
    pub serial: String,
    /// [`crate::AvbKey::digest`] of the maker.
    pub root_key_hash: [u8; 32],
    /// That of the maker's second key; see [`crate::Maker::second_avb_key`].
    pub second_root_key_hash: Option<[u8; 32]>,
    /// The lowest rollback index of the level-1 bootloader that this board accepts.
    pub bl1_rollback_index: u64,
    /// The lowest rollback index of the TEE.
    pub tee_rollback_index: u64,
    /// What the board stands on.
    pub backend: Backend,
}

/// Makes a board in `folder` (`DIR/device/board`). Its hardware unique key comes from `entropy`,
/// or is made by its TPM, and is known to nobody. Refuses where there is a board. One whose making
/// was interrupted before its fuses were blown is made anew.
pub fn make_board(
    folder: &Path,
    order: &BoardOrder,
    entropy: &dyn Entropy,
) -> Result<(), PowerUpError> {
    let io = |error| FuseError::Io(folder.to_owned(), error);
    for file in [FILE, board_tpm2::record::FILE] {
        if folder.join(file).exists() {
            return Err(FuseError::Blown(folder.join(file)).into());
        }
    }
    board_emulated::fuses::make_private_folder(folder).map_err(io)?;
    match &order.backend {
        Backend::Emulated => make_emulated(folder, order, entropy),
        Backend::Tpm2(address) => {
            let root_keys = [Some(order.root_key_hash), order.second_root_key_hash];
            let order = board_tpm2::Order {
                serial: order.serial.clone(),
                root_keys: root_keys.into_iter().flatten().collect(),
                counters: [order.bl1_rollback_index, order.tee_rollback_index],
                blocks: rpmb_store::BLOCKS,
            };
            Ok(board_tpm2::make(folder, address, &order)?)
        }
    }
}

fn make_emulated(
    folder: &Path,
    order: &BoardOrder,
    entropy: &dyn Entropy,
) -> Result<(), PowerUpError> {
    // Fuses last: with them the board is one. A chip without them was never used.
    match std::fs::remove_file(folder.join("rpmb.bin")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    rpmb_store::create(folder)?;
    let mut fuses = Fuses::blow(
        folder,
        &Blank {
            root_key_hash: order.root_key_hash,
            second_root_key_hash: order.second_root_key_hash,
            serial: order.serial.clone(),
            huk: Secret::new(random_array(entropy)),
        },
    )?;
    fuses.raise_counter(BL1_COUNTER, order.bl1_rollback_index)?;
    fuses.raise_counter(TEE_COUNTER, order.tee_rollback_index)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use board::silicon::{Fuses as _, Huk, MonotonicCounter};
    use board_emulated::silicon::EmulatedSilicon;
    use effects::{SystemClock, SystemEntropy};
    use std::sync::Arc;

    fn order() -> BoardOrder {
        BoardOrder {
            serial: "HF-1".into(),
            root_key_hash: [3; 32],
            second_root_key_hash: None,
            bl1_rollback_index: 0,
            tee_rollback_index: 2,
            backend: Backend::Emulated,
        }
    }

    #[test]
    fn s2_1_3_every_board_has_a_key_of_its_own_for_ever() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let keys = folders.each_ref().map(|folder| {
            make_board(folder.path(), &order(), &SystemEntropy).unwrap();
            assert!(make_board(folder.path(), &order(), &SystemEntropy).is_err());
            let clock = Arc::new(SystemClock::default());
            let silicon =
                EmulatedSilicon::power_up(folder.path(), clock, Arc::new(SystemEntropy)).unwrap();
            assert_eq!(silicon.counter(TEE_COUNTER), Ok(2));
            assert_eq!(silicon.serial(), Ok("HF-1".into()));
            silicon.derive("label", b"").unwrap()
        });
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn an_interrupted_making_starts_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rpmb.bin"), "half a chip").unwrap();
        make_board(folder.path(), &order(), &SystemEntropy).unwrap();
        rpmb_store::open(folder.path()).unwrap();
    }
}
