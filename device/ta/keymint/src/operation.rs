//! One operation: begun, fed in pieces, finished once. The engine in the trusted OS works; what
//! comes in one piece costs one call to it.

use crate::failure::{Failure, Outcome, as_code};
use crate::rules::operation::Plan;
use keymint::{EcCurve, ErrorCode, PaddingMode};
use tee_sdk::engine::{
    Attributes, Cipher, Derivation, Key, KeyType, Opening, Operation, Run, Running, Usage,
};
use tee_sdk::{Context, TeeError, Zeroizing};

/// The longest public key of a peer, in bytes of DER.
const MAX_PEER_BYTES: usize = 1024;

/// How far an operation came.
pub(crate) struct Work {
    plan: Plan,
    stage: Stage,
    /// Bytes of text so far.
    bytes: u64,
}

enum Stage {
    /// Nothing came yet.
    Fresh,
    /// The engine is at it.
    Running(Running),
    /// The engine decrypts GCM; here is what may be the tag.
    Opening(Opening, Vec<u8>),
    /// The input is kept.
    Kept(Zeroizing<Vec<u8>>),
}

impl Work {
    /// Before the first piece.
    pub(crate) const fn new(plan: Plan) -> Self {
        Self { plan, stage: Stage::Fresh, bytes: 0 }
    }

    /// Associated data of GCM, before any text.
    pub(crate) fn associate(
        &mut self,
        context: &mut Context<'_>,
        key: &Key,
        data: &[u8],
    ) -> Outcome<()> {
        if !matches!(self.plan, Plan::Gcm { .. }) {
            return Err(ErrorCode::InvalidOperation.into());
        }
        if self.bytes > 0 {
            return Err(ErrorCode::InvalidTag.into());
        }
        match self.started(context, key)? {
            Stage::Running(running) => running.associate(context, data)?,
            Stage::Opening(opening, _) => opening.associate(context, data)?,
            Stage::Fresh | Stage::Kept(_) => return Err(ErrorCode::InvalidOperation.into()),
        }
        Ok(())
    }

    /// A piece of the input; what comes out so far.
    pub(crate) fn update(
        &mut self,
        context: &mut Context<'_>,
        key: &Key,
        input: &[u8],
    ) -> Outcome<Vec<u8>> {
        let plan = self.plan.clone();
        self.bytes = self.bytes.saturating_add(input.len() as u64);
        let mut out = Vec::new();
        match self.started(context, key)? {
            Stage::Running(running) => running.update(context, input, &mut out)?,
            Stage::Opening(opening, held) => {
                let Plan::Gcm { tag_bytes, .. } = plan else { return Ok(out) };
                held.extend_from_slice(input);
                let text = held.len().saturating_sub(tag_bytes.into());
                // KeyMint gives the text out as it comes; whoever takes it acts on none of it
                // before the operation was finished.
                let text: Vec<u8> = held.drain(..text).collect();
                opening.danger_update_unverified(context, &text, &mut out)?;
            }
            Stage::Kept(kept) => keep(&plan, kept, input)?,
            Stage::Fresh => {}
        }
        Ok(out)
    }

    /// The last piece; `signature` is what is checked.
    pub(crate) fn finish(
        mut self,
        context: &mut Context<'_>,
        key: &Key,
        input: &[u8],
        signature: Option<&[u8]>,
    ) -> Outcome<Zeroizing<Vec<u8>>> {
        if matches!(self.stage, Stage::Fresh) {
            return run(context, key, &self.plan, &[], input, signature);
        }
        let mut out = Zeroizing::new(Vec::new());
        if matches!(self.stage, Stage::Kept(_) | Stage::Opening(..)) {
            out.extend(self.update(context, key, input)?);
        } else {
            self.bytes = self.bytes.saturating_add(input.len() as u64);
        }
        match self.stage {
            Stage::Fresh => {}
            Stage::Kept(kept) => {
                let whole = run(context, key, &self.plan, &[], &kept, signature)?;
                out.extend_from_slice(&whole);
            }
            Stage::Opening(opening, held) => {
                check_tag_length(&self.plan, held.len())?;
                opening
                    .finish(context, &held)
                    .map_err(|error| as_code(error, ErrorCode::VerificationFailed))?;
            }
            Stage::Running(running) => {
                check_length(&self.plan, self.bytes)?;
                let end = running.finish(context, input).map_err(|it| refused(&self.plan, it))?;
                out.extend_from_slice(&concluded(&self.plan, end, signature)?);
            }
        }
        Ok(out)
    }

    /// Starts what is fresh.
    fn started(&mut self, context: &mut Context<'_>, key: &Key) -> Outcome<&mut Stage> {
        if matches!(self.stage, Stage::Fresh) {
            self.stage = match &self.plan {
                Plan::Pieces(operation) | Plan::Text { operation, .. } => {
                    Stage::Running(key.begin(context, operation.clone())?)
                }
                Plan::Mac { .. } | Plan::CheckMac { .. } => {
                    Stage::Running(key.begin(context, Operation::Mac)?)
                }
                Plan::Gcm { nonce, tag_bytes, decrypts: true } => {
                    Stage::Opening(key.begin_open(context, nonce, *tag_bytes)?, Vec::new())
                }
                Plan::Gcm { nonce, tag_bytes, .. } => {
                    let operation = Operation::Encrypt(gcm(nonce, *tag_bytes));
                    Stage::Running(key.begin(context, operation)?)
                }
                Plan::Whole { .. } | Plan::Prefix { .. } | Plan::Agree { .. } => {
                    Stage::Kept(Zeroizing::default())
                }
            };
        }
        Ok(&mut self.stage)
    }
}

/// A whole operation in one piece.
pub(crate) fn run(
    context: &mut Context<'_>,
    key: &Key,
    plan: &Plan,
    associated: &[u8],
    input: &[u8],
    signature: Option<&[u8]>,
) -> Outcome<Zeroizing<Vec<u8>>> {
    if !associated.is_empty() {
        let mut work = Work::new(plan.clone());
        work.associate(context, key, associated)?;
        return work.finish(context, key, input, signature);
    }
    check_length(plan, input.len() as u64)?;
    let done = match plan {
        Plan::Pieces(operation) | Plan::Text { operation, .. } => {
            engine(context, key, operation, input)
        }
        Plan::Mac { .. } | Plan::CheckMac { .. } => key.mac(context, input).map(Zeroizing::new),
        Plan::Gcm { nonce, tag_bytes, decrypts: true } => {
            key.decrypt(context, gcm(nonce, *tag_bytes), input)
        }
        Plan::Gcm { nonce, tag_bytes, .. } => {
            key.encrypt(context, gcm(nonce, *tag_bytes), input).map(Zeroizing::new)
        }
        Plan::Whole { operation, .. } => engine(context, key, operation, input),
        Plan::Prefix { operation, bytes } => {
            engine(context, key, operation, &input[..input.len().min(*bytes)])
        }
        Plan::Agree { curve } => agree(context, key, *curve, input),
    };
    end(plan, done.map(|end| end.to_vec()), signature)
}

/// What the engine's end of an operation means.
pub(crate) fn end(
    plan: &Plan,
    end: Result<Vec<u8>, TeeError>,
    signature: Option<&[u8]>,
) -> Outcome<Zeroizing<Vec<u8>>> {
    concluded(plan, end.map_err(|error| refused(plan, error))?, signature)
}

/// The one call to the engine that does all of it; `None` where it takes more than one.
pub(crate) fn as_run(
    key: &Key,
    plan: &Plan,
    associated: &[u8],
    input: &[u8],
) -> Outcome<Option<Run>> {
    check_length(plan, input.len() as u64)?;
    let plain = |operation: Operation, input: &[u8]| {
        if !associated.is_empty() {
            return Err(ErrorCode::InvalidOperation.into());
        }
        Ok(Some(key.to_run(operation, &[], input, None)?))
    };
    match plan {
        Plan::Pieces(operation) | Plan::Text { operation, .. } | Plan::Whole { operation, .. } => {
            plain(operation.clone(), input)
        }
        Plan::Prefix { operation, bytes } => {
            plain(operation.clone(), &input[..input.len().min(*bytes)])
        }
        Plan::Mac { .. } | Plan::CheckMac { .. } => plain(Operation::Mac, input),
        Plan::Gcm { nonce, tag_bytes, decrypts: true } => {
            let (text, tag) = input.split_at(input.len() - usize::from(*tag_bytes));
            let operation = Operation::Decrypt(gcm(nonce, *tag_bytes));
            Ok(Some(key.to_run(operation, associated, text, Some(tag))?))
        }
        Plan::Gcm { nonce, tag_bytes, .. } => {
            let operation = Operation::Encrypt(gcm(nonce, *tag_bytes));
            Ok(Some(key.to_run(operation, associated, input, None)?))
        }
        Plan::Agree { .. } => Ok(None),
    }
}

/// The same for so many bytes in shared memory, which this process does not see: ciphers, and
/// signatures over what the engine hashes.
pub(crate) fn as_memory_run(key: &Key, plan: &Plan, associated: &[u8], bytes: u32) -> Outcome<Run> {
    check_length(plan, bytes.into())?;
    let (operation, takes_aad) = match plan {
        Plan::Pieces(operation) | Plan::Text { operation, .. } => (operation.clone(), false),
        Plan::Gcm { nonce, tag_bytes, decrypts } => {
            let cipher = gcm(nonce, *tag_bytes);
            let operation =
                if *decrypts { Operation::Decrypt(cipher) } else { Operation::Encrypt(cipher) };
            (operation, true)
        }
        _ => return Err(ErrorCode::InvalidArgument.into()),
    };
    if !takes_aad && !associated.is_empty() {
        return Err(ErrorCode::InvalidOperation.into());
    }
    Ok(key.to_run(operation, associated, &[], None)?)
}

fn engine(
    context: &mut Context<'_>,
    key: &Key,
    operation: &Operation,
    input: &[u8],
) -> Result<Zeroizing<Vec<u8>>, TeeError> {
    match operation.clone() {
        Operation::Sign(scheme) => key.sign(context, scheme, input).map(Zeroizing::new),
        Operation::Encrypt(cipher) => key.encrypt(context, cipher, input).map(Zeroizing::new),
        Operation::Decrypt(cipher) => key.decrypt(context, cipher, input),
        _ => Err(TeeError::BadState("no such operation of KeyMint".into())),
    }
}

/// The bare common secret.
fn agree(
    context: &mut Context<'_>,
    key: &Key,
    curve: EcCurve,
    peer: &[u8],
) -> Result<Zeroizing<Vec<u8>>, TeeError> {
    let bytes = crate::rules::curve_bits(curve).div_ceil(8) as u16;
    let usage = Usage::DERIVE | Usage::EXTRACTABLE;
    let peer = crate::peer::point(curve, peer)?;
    let derivation = Derivation::Agree { peer: serde_bytes::ByteBuf::from(peer) };
    let attributes = Attributes::new(KeyType::Secret { bytes }, usage);
    key.derive(context, derivation, attributes)?.export(context)
}

fn gcm(nonce: &[u8], tag_bytes: u8) -> Cipher {
    Cipher::Gcm { nonce: serde_bytes::ByteBuf::from(nonce), tag_bytes }
}

/// Whether so many bytes of input can be.
fn check_length(plan: &Plan, bytes: u64) -> Result<(), ErrorCode> {
    let fits = match plan {
        Plan::Text { block, padding: PaddingMode::None, .. } => bytes.is_multiple_of(*block as u64),
        Plan::Text { block, decrypts: true, .. } => {
            bytes > 0 && bytes.is_multiple_of(*block as u64)
        }
        Plan::Gcm { tag_bytes, decrypts: true, .. } => bytes >= u64::from(*tag_bytes),
        Plan::Whole { most_bytes, .. } => bytes <= *most_bytes as u64,
        Plan::Agree { .. } => bytes <= MAX_PEER_BYTES as u64,
        _ => true,
    };
    if fits { Ok(()) } else { Err(ErrorCode::InvalidInputLength) }
}

fn check_tag_length(plan: &Plan, bytes: usize) -> Result<(), ErrorCode> {
    match plan {
        Plan::Gcm { tag_bytes, .. } if usize::from(*tag_bytes) == bytes => Ok(()),
        _ => Err(ErrorCode::InvalidInputLength),
    }
}

/// Keeps a piece, where it is not too much.
fn keep(plan: &Plan, kept: &mut Zeroizing<Vec<u8>>, input: &[u8]) -> Outcome<()> {
    let input = match plan {
        Plan::Prefix { bytes, .. } => &input[..input.len().min(bytes.saturating_sub(kept.len()))],
        _ => input,
    };
    check_length(plan, kept.len() as u64 + input.len() as u64)?;
    let mut grown = Zeroizing::new(Vec::with_capacity(kept.len() + input.len()));
    grown.extend_from_slice(kept);
    grown.extend_from_slice(input);
    *kept = grown;
    Ok(())
}

/// What the engine's refusal means. Of a padding and of a MAC there is one answer each, whatever
/// is wrong with them.
pub(crate) fn refused(plan: &Plan, error: TeeError) -> Failure {
    let code = match plan {
        Plan::Whole { refused, .. } => *refused,
        Plan::Gcm { .. } => ErrorCode::VerificationFailed,
        Plan::Text { .. } | Plan::Agree { .. } | Plan::Pieces(_) | Plan::Prefix { .. } => {
            ErrorCode::InvalidArgument
        }
        Plan::Mac { .. } | Plan::CheckMac { .. } => ErrorCode::UnknownError,
    };
    as_code(error, code)
}

/// The result, out of what the engine gave: a MAC is cut off, or compared.
fn concluded(
    plan: &Plan,
    mut end: Vec<u8>,
    signature: Option<&[u8]>,
) -> Outcome<Zeroizing<Vec<u8>>> {
    match plan {
        Plan::Mac { bytes } => end.truncate(*bytes),
        Plan::CheckMac { least_bytes } => {
            let mac = signature.ok_or(ErrorCode::InvalidArgument)?;
            if !(*least_bytes..=end.len()).contains(&mac.len()) {
                return Err(ErrorCode::InvalidMacLength.into());
            }
            if !crypto::constant_time_eq(&end[..mac.len()], mac) {
                return Err(ErrorCode::VerificationFailed.into());
            }
            end.clear();
        }
        _ => {}
    }
    Ok(Zeroizing::new(end))
}
