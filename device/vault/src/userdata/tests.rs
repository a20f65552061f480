use super::*;

fn key() -> Secret<32> {
    Secret::new([7; 32])
}

fn sample() -> Userdata {
    let mut userdata = Userdata::default();
    userdata.set_area("de", [1; 32]);
    userdata.set_setting("account", Some(b"a-1".to_vec()));
    userdata
}

#[test]
fn a_partition_survives_encoding_and_zeros_are_a_fresh_one() {
    let partition = sample().encode(&key()).expect("it fits");
    assert_eq!(Userdata::decode(&partition, &key()), Ok(Some(sample())));
    assert_eq!(Userdata::decode(&vec![0; PARTITION_BYTES], &key()), Ok(None));
    assert_eq!(
        Userdata::decode(&partition[1..], &key()),
        Err(UserdataError::Size(PARTITION_BYTES - 1))
    );
    assert_eq!(
        Userdata::decode(&partition, &Secret::new([8; 32])),
        Err(UserdataError::Authentication)
    );
}

#[test]
fn one_flipped_bit_anywhere_is_refused() {
    let partition = sample().encode(&key()).expect("it fits");
    let used = 200.min(partition.len());
    for at in (0..used).chain((used..PARTITION_BYTES).step_by(4099)).chain([PARTITION_BYTES - 1]) {
        for bit in 0..8 {
            let mut altered = partition.clone();
            altered[at] ^= 1 << bit;
            assert!(Userdata::decode(&altered, &key()).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let mut userdata = sample();
    userdata.set_setting("large", Some(vec![1; PARTITION_BYTES]));
    assert_eq!(userdata.encode(&key()), Err(UserdataError::Full));
    userdata.set_setting("large", None);
    assert_eq!(userdata, sample());
}

/// Cuts the power at the n-th step.
struct Device {
    flash: Vec<u8>,
    committed: [u8; 32],
    announced: Option<[u8; 32]>,
    steps_left: usize,
}

impl Device {
    fn step(&mut self) -> Result<(), std::io::Error> {
        self.steps_left =
            self.steps_left.checked_sub(1).ok_or_else(|| std::io::Error::other("power cut"))?;
        Ok(())
    }

    fn passes(&self) -> bool {
        let now = digest(&self.flash);
        now == self.committed || Some(now) == self.announced
    }
}

/// Both ends of one device, as `store` wants them.
struct End<'d>(&'d std::cell::RefCell<Device>);

impl Partition for End<'_> {
    fn write(&mut self, content: &[u8]) -> std::io::Result<()> {
        let mut device = self.0.borrow_mut();
        device.step()?;
        device.flash = content.to_vec();
        Ok(())
    }
}

impl Witness for End<'_> {
    type Error = std::io::Error;

    fn begin(&mut self, digest: [u8; 32]) -> Result<(), Self::Error> {
        let mut device = self.0.borrow_mut();
        device.step()?;
        device.announced = Some(digest);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Self::Error> {
        let mut device = self.0.borrow_mut();
        device.step()?;
        device.committed = device.announced.take().expect("announced before");
        Ok(())
    }
}

#[test]
fn a_power_cut_at_any_step_leaves_a_partition_that_passes() {
    for steps_left in 0..=3 {
        let flash = sample().encode(&key()).expect("it fits");
        let committed = digest(&flash);
        let device =
            std::cell::RefCell::new(Device { flash, committed, announced: None, steps_left });
        let mut newer = sample();
        newer.set_area("ce/0", [2; 32]);
        let stored = store(&newer, &key(), &mut End(&device), &mut End(&device));
        assert_eq!(stored.is_ok(), steps_left == 3);
        let device = device.into_inner();
        assert!(device.passes(), "{steps_left}");
        let now =
            Userdata::decode(&device.flash, &key()).expect("it opens").expect("it was written");
        assert_eq!(now, if steps_left >= 2 { newer } else { sample() });
    }
}
