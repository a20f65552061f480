//! A refusal takes as long whatever is wrong inside: measured, as dudect does (Reparaz, Balasch and
//! Verbauwhede, 2017). Two kinds of wrong inputs take turns in random order; Welch's t says
//! whether their times are of one kind. Times are of this thread's processor, so that a busy
//! machine makes the test less sharp and not wrong.

use super::*;
use crypto::cipher::{Direction, Key as CipherKey, Mode, Padding, Stream};
use crypto::rsa::{Encryption, Floor, PublicKey};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;

/// Beyond this the times are of two kinds. dudect says 4.5 for one look; this is looked at often.
const LIMIT: f64 = 10.0;
/// Looks: a leak is there in all of them.
const LOOKS: usize = 4;

/// Nanoseconds of this thread so far.
fn now() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Welch's t of both samples, the slowest tenth of all left out: they are interrupts.
fn welch(samples: &[(bool, i64)]) -> f64 {
    let mut all: Vec<i64> = samples.iter().map(|(_, time)| *time).collect();
    all.sort_unstable();
    let most = all[all.len() * 9 / 10];
    let of = |kind: bool| {
        let times = samples.iter().filter(|(of, time)| *of == kind && *time <= most);
        let times: Vec<f64> = times.map(|(_, time)| *time as f64).collect();
        let count = times.len().max(2) as f64;
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    };
    let ((one, of_one), (other, of_other)) = (of(false), of(true));
    (one - other) / (of_one + of_other).sqrt().max(f64::MIN_POSITIVE)
}

/// Whether `run` takes longer for one kind than for the other, in every look. `ready` is not
/// measured.
fn leaks<T>(
    samples: usize,
    mut ready: impl FnMut(bool) -> T,
    mut run: impl FnMut(bool, T),
) -> bool {
    let mut measured = |kind: bool| {
        let prepared = ready(kind);
        let begin = now();
        run(kind, prepared);
        (kind, now() - begin)
    };
    for kind in [false, true].repeat(20) {
        measured(kind);
    }
    (0..LOOKS).all(|_| {
        let kinds = crypto::random_array::<4096>();
        let samples: Vec<_> =
            (0..samples).map(|at| measured(kinds[at % kinds.len()] & 1 == 1)).collect();
        welch(&samples).abs() > LIMIT
    })
}

/// Whether the refusals of the two inputs, begun in the same way, can be told apart by their time.
fn told_apart(
    device: &mut Device,
    samples: usize,
    (blob, purpose, params): (&ByteBuf, KeyPurpose, &Authorizations),
    inputs: [(&[u8], Option<&[u8]>); 2],
    due: ErrorCode,
) -> bool {
    let device = std::cell::RefCell::new(device);
    leaks(
        samples,
        |_| device.borrow_mut().begin(blob, purpose, params).unwrap().operation,
        |kind, operation| {
            let (input, signature) = inputs[usize::from(kind)];
            let refused = device.borrow_mut().finish_with(operation, input, signature, None);
            assert_eq!(refused, Err(due));
        },
    )
}

#[test]
fn the_measure_sees_an_early_return_and_nothing_where_there_is_none() {
    let secret = [7_u8; 4096];
    let (mut at_once, mut at_last) = (secret, secret);
    at_once[0] ^= 1;
    at_last[4095] ^= 1;
    let inputs = [at_once, at_last];
    let naive = |left: &[u8], right: &[u8]| {
        left.iter().zip(right).all(|(left, right)| black_box(left) == black_box(right))
    };
    let guess = |kind: bool| black_box(&inputs[usize::from(kind)]);
    assert!(leaks(
        2000,
        |_| (),
        |kind, ()| {
            black_box(naive(black_box(&secret), guess(kind)));
        }
    ));
    assert!(!leaks(
        2000,
        |_| (),
        |kind, ()| {
            black_box(crypto::constant_time_eq(black_box(&secret), guess(kind)));
        }
    ));
}

#[test]
fn s3_2_a_wrong_mac_or_tag_takes_as_long_wherever_it_is_wrong() {
    let mut device = Device::new();
    let of_hmac = device.generate(&hmac()).unwrap().blob;
    let message = [5; 512];
    let params = Authorizations { mac_length: Some(256), ..none() };
    let mac = device.run(&of_hmac, KeyPurpose::Sign, &params, &message).unwrap();
    let wrong = |good: &[u8], at: usize| {
        let mut wrong = good.to_vec();
        wrong[at] ^= 1;
        wrong
    };
    let (first, last) = (wrong(&mac, 0), wrong(&mac, 31));
    let inputs = [(&message[..], Some(&first[..])), (&message[..], Some(&last[..]))];
    let how = (&of_hmac, KeyPurpose::Verify, &none());
    assert!(!told_apart(&mut device, 2000, how, inputs, ErrorCode::VerificationFailed), "HMAC");

    let of_gcm = device.generate(&aes(&[BlockMode::Gcm], &[PaddingMode::None])).unwrap().blob;
    let params = Authorizations {
        block_mode: [BlockMode::Gcm].into(),
        padding: [PaddingMode::None].into(),
        mac_length: Some(128),
        ..none()
    };
    let begun = device.begin(&of_gcm, KeyPurpose::Encrypt, &params).unwrap();
    let sealed = device.finish(begun.operation, &message).unwrap();
    let params = Authorizations { nonce: begun.params.nonce, ..params };
    let (first, last) = (wrong(&sealed, 512), wrong(&sealed, 527));
    let inputs = [(&first[..], None), (&last[..], None)];
    let how = (&of_gcm, KeyPurpose::Decrypt, &params);
    assert!(!told_apart(&mut device, 2000, how, inputs, ErrorCode::VerificationFailed), "GCM");
}

/// Two blocks whose padding is wrong: at the first byte that is looked at, or at the last.
fn wrongly_padded(key: &CipherKey) -> [Vec<u8>; 2] {
    let mut far = [16_u8; 32];
    far[16] = 0;
    let mut near = far;
    near[30] = 0;
    [near, far].map(|text| {
        let mut out = Vec::new();
        let mode = Mode::Cbc(&[3; 16], Padding::None);
        let mut stream = Stream::new(key, Direction::Encrypt, mode).unwrap();
        stream.update(&text, &mut out).unwrap();
        stream.finish(&mut out).unwrap();
        out
    })
}

#[test]
fn s3_2_a_wrong_padding_of_a_block_takes_as_long_wherever_it_is_wrong() {
    let raw = CipherKey::aes(&[7; 16]).unwrap();
    let sealed = wrongly_padded(&raw);
    let open = |kind: bool| {
        let mode = Mode::Cbc(&[3; 16], Padding::Pkcs7);
        let mut stream = Stream::new(&raw, Direction::Decrypt, mode).unwrap();
        let mut out = Vec::with_capacity(64);
        stream.update(&sealed[usize::from(kind)], &mut out).unwrap();
        (stream, out)
    };
    // The cipher by itself, where nothing hides the check.
    let finish = |_, (stream, mut out): (Stream, Vec<u8>)| {
        assert_eq!(stream.finish(&mut out), Err(crypto::Error::Authentication));
    };
    assert!(!leaks(10_000, open, finish), "the cipher");

    let mut device = Device::new();
    let params = aes(&[BlockMode::Cbc], &[PaddingMode::Pkcs7]);
    let blob = device.import(&params, KeyFormat::Raw, &[7; 16]).unwrap().blob;
    let params = Authorizations {
        block_mode: [BlockMode::Cbc].into(),
        padding: [PaddingMode::Pkcs7].into(),
        nonce: Some(Bytes(vec![3; 16])),
        ..none()
    };
    let inputs = sealed.each_ref().map(|sealed| (&sealed[..], None));
    let how = (&blob, KeyPurpose::Decrypt, &params);
    assert!(!told_apart(&mut device, 2000, how, inputs, ErrorCode::InvalidArgument), "KeyMint");
}

#[test]
fn s3_2_a_wrong_padding_of_rsa_takes_as_long_whatever_is_wrong() {
    let mut device = Device::new();
    let paddings = &[PaddingMode::RsaOaep, PaddingMode::RsaPkcs1Encrypt];
    let made = device.generate(&rsa(KeyPurpose::Decrypt, paddings, &[Digest::Sha2_256])).unwrap();
    let public = PublicKey::from_spki(leaf(&made).public_key().as_der(), Floor::Bits2048).unwrap();
    // 256 bytes each: a wrong first byte; a right beginning and no end of the padding.
    let mut wrong_first = [9_u8; 256];
    wrong_first[0] = 1;
    let mut endless = [9_u8; 256];
    endless[..2].copy_from_slice(&[0, 2]);
    let sealed =
        [wrong_first, endless].map(|padded| public.encrypt(Encryption::Bare, &padded).unwrap());
    let inputs = sealed.each_ref().map(|sealed| (&sealed[..], None));
    for (padding, digest) in
        [(PaddingMode::RsaPkcs1Encrypt, None), (PaddingMode::RsaOaep, Some(Digest::Sha2_256))]
    {
        let params = Authorizations {
            padding: [padding].into(),
            digest: digest.into_iter().collect(),
            ..none()
        };
        let how = (&made.blob, KeyPurpose::Decrypt, &params);
        assert!(!told_apart(&mut device, 500, how, inputs, ErrorCode::UnknownError), "{padding}");
    }
}
