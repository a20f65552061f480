//! `holdfast eid`: what a person can type.

use crate::args::EXITS;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Where the element is, and how its PIN comes.
#[derive(Debug, Args)]
pub(crate) struct Element {
    /// A card in a reader of pcscd whose name contains this
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "socket",
        required_unless_present = "socket"
    )]
    pub(crate) reader: Option<String>,
    /// An element behind its own socket (`holdfast element serve --socket`)
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// The PIN comes from this descriptor [default: from the terminal]
    #[arg(long, value_name = "FD")]
    pub(crate) pin_fd: Option<i32>,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the issuer is.
#[derive(Debug, Args)]
pub(crate) struct Issuer {
    /// The cloud, as https://localhost:8443
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: String,
    /// The CA that its certificate chains to (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: PathBuf,
}

/// To whom something is shown.
#[derive(Debug, Args)]
pub(crate) struct Session {
    /// Who asks (OpenID4VP: client_id)
    #[arg(long, value_name = "NAME")]
    pub(crate) audience: String,
    /// What it chose at random for this session
    #[arg(long, value_name = "TEXT")]
    pub(crate) nonce: String,
    /// Where the answer goes (response_uri)
    #[arg(long, value_name = "URL", default_value = "")]
    pub(crate) response_uri: String,
}

/// `holdfast eid`.
#[derive(Debug, Subcommand)]
pub(crate) enum Eid {
    /// Open an identity: its key is made inside, and bound to the account by the issuer's proof
    #[command(after_help = EXITS)]
    Open {
        #[command(flatten)]
        element: Element,
        #[command(flatten)]
        issuer: Issuer,
        /// The account that it belongs to
        #[arg(long, value_name = "NAME")]
        account: String,
        /// What the issuer gave the person
        #[arg(long, value_name = "CODE")]
        proof: String,
    },
    /// Get the document, or a fresh one, into the element
    #[command(after_help = EXITS)]
    Download {
        #[command(flatten)]
        element: Element,
        #[command(flatten)]
        issuer: Issuer,
    },
    /// Show the holder what is in it
    #[command(after_help = EXITS)]
    Show {
        #[command(flatten)]
        element: Element,
    },
    /// Show a reader the chosen elements and no other: a DeviceResponse (ISO/IEC 18013-5)
    #[command(after_help = EXITS)]
    Present {
        #[command(flatten)]
        element: Element,
        #[command(flatten)]
        session: Session,
        /// What is shown; may be repeated
        #[arg(long = "show", value_name = "ELEMENT", required = true)]
        chosen: Vec<String>,
        /// The file for it
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Sign a file with the identity's key: ECDSA with SHA-256, DER
    #[command(after_help = EXITS)]
    Sign {
        #[command(flatten)]
        element: Element,
        /// What is signed
        file: PathBuf,
        /// The file for the signature
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Give the identity up: destroy key and document, and tell the issuer
    ///
    /// The last word is kept in --last-word until the issuer has heard it; the same command again
    /// sends it, whatever became of the element.
    #[command(after_help = EXITS)]
    Deregister {
        #[command(flatten)]
        element: Element,
        #[command(flatten)]
        issuer: Issuer,
        /// Where the last word waits for the issuer
        #[arg(long, value_name = "FILE")]
        last_word: PathBuf,
    },
    /// Be a reader: check what was shown, against the session and the authorities trusted here
    #[command(after_help = EXITS)]
    Verify {
        /// What was shown
        file: PathBuf,
        #[command(flatten)]
        session: Session,
        /// An authority that is trusted (DER); may be repeated
        #[arg(long, value_name = "FILE", required = true)]
        authority: Vec<PathBuf>,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
}
