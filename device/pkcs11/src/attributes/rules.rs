//! The table of attributes (PKCS #11 3.0, section 4).

use cryptoki_sys::*;

/// A class of objects, as a bit.
type Classes = u8;

/// Data objects.
const DATA: Classes = 1;
/// X.509 certificates.
const CERTIFICATE: Classes = 2;
/// Public keys.
const PUBLIC: Classes = 4;
/// Private keys.
const PRIVATE: Classes = 8;
/// Secret keys.
const SECRET: Classes = 16;
/// All of them.
const ALL_CLASSES: Classes = 31;
const KEYS: Classes = PUBLIC | PRIVATE | SECRET;
const KEPT: Classes = PRIVATE | SECRET;

/// The bit of a class.
pub(crate) const fn class_bit(class: CK_OBJECT_CLASS) -> Option<Classes> {
    match class {
        CKO_DATA => Some(DATA),
        CKO_CERTIFICATE => Some(CERTIFICATE),
        CKO_PUBLIC_KEY => Some(PUBLIC),
        CKO_PRIVATE_KEY => Some(PRIVATE),
        CKO_SECRET_KEY => Some(SECRET),
        _ => None,
    }
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `CK_BBOOL`.
    Flag,
    /// `CK_ULONG`.
    Number,
    /// Bytes.
    Bytes,
    /// `CK_DATE`, or nothing.
    Date,
    /// An array of `CK_ULONG`.
    Numbers,
}

impl Form {
    /// A value has this form.
    pub(crate) fn fits(self, value: &[u8]) -> bool {
        match self {
            Self::Flag => matches!(value, [CK_FALSE | CK_TRUE]),
            Self::Number => value.len() == size_of::<CK_ULONG>(),
            Self::Bytes => true,
            Self::Date => value.is_empty() || value.len() == size_of::<CK_DATE>(),
            Self::Numbers => value.len().is_multiple_of(size_of::<CK_ULONG>()),
        }
    }
}

/// Who may set an attribute, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// The caller, at any time.
    Free,
    /// The caller, when the object is made.
    AtCreation,
    /// As before, and later from false to true.
    OnlyOn,
    /// As before, and later from true to false: what a key may do in the TEE is fixed when it is
    /// made, so that it can only be given up.
    OnlyOff,
    /// The module.
    Never,
}

/// What is set where the caller says nothing.
#[derive(Debug, Clone, Copy)]
enum Default {
    Nothing,
    Empty,
    False,
    True,
    /// True for private and secret keys.
    Kept,
    Number(CK_ULONG),
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) code: CK_ATTRIBUTE_TYPE,
    pub(crate) form: Form,
    pub(crate) classes: Classes,
    pub(crate) set: Set,
    default: Default,
}

impl Rule {
    /// The line of an attribute.
    pub(crate) fn find(code: CK_ATTRIBUTE_TYPE) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.code == code)
    }

    /// What is set where the caller says nothing.
    pub(crate) fn default(&self, class: Classes) -> Option<Vec<u8>> {
        match self.default {
            Default::Nothing => None,
            Default::Empty => Some(Vec::new()),
            Default::False => Some(vec![CK_FALSE]),
            Default::True => Some(vec![CK_TRUE]),
            Default::Kept if class & KEPT != 0 => Some(vec![CK_TRUE]),
            Default::Kept => Some(vec![CK_FALSE]),
            Default::Number(number) => Some(number.to_ne_bytes().to_vec()),
        }
    }
}

/// What a key may do.
pub(crate) const PURPOSES: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_DERIVE,
    CKA_ENCRYPT,
    CKA_DECRYPT,
    CKA_SIGN,
    CKA_VERIFY,
    CKA_SIGN_RECOVER,
    CKA_VERIFY_RECOVER,
    CKA_WRAP,
    CKA_UNWRAP,
];

/// What keys of a class and a type are for.
pub(crate) const fn default_purposes(
    class: CK_OBJECT_CLASS,
    key_type: CK_KEY_TYPE,
) -> &'static [CK_ATTRIBUTE_TYPE] {
    match (class, key_type) {
        (CKO_PUBLIC_KEY, CKK_RSA) => &[CKA_ENCRYPT, CKA_VERIFY, CKA_VERIFY_RECOVER, CKA_WRAP],
        (CKO_PRIVATE_KEY, CKK_RSA) => &[CKA_DECRYPT, CKA_SIGN, CKA_SIGN_RECOVER, CKA_UNWRAP],
        (CKO_PUBLIC_KEY, CKK_EC | CKK_EC_EDWARDS) => &[CKA_VERIFY],
        (CKO_PRIVATE_KEY, CKK_EC) => &[CKA_SIGN, CKA_DERIVE],
        (CKO_PRIVATE_KEY, CKK_EC_EDWARDS) => &[CKA_SIGN],
        (CKO_PRIVATE_KEY, CKK_EC_MONTGOMERY) => &[CKA_DERIVE],
        (CKO_SECRET_KEY, CKK_AES) => {
            &[CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP]
        }
        (CKO_SECRET_KEY, CKK_DES3) => &[CKA_ENCRYPT, CKA_DECRYPT],
        (CKO_SECRET_KEY, _) => &[CKA_SIGN, CKA_VERIFY, CKA_DERIVE],
        _ => &[],
    }
}

/// What is never shown of a key that keeps its secret.
pub(crate) const SECRETS: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_VALUE,
    CKA_PRIVATE_EXPONENT,
    CKA_PRIME_1,
    CKA_PRIME_2,
    CKA_EXPONENT_1,
    CKA_EXPONENT_2,
    CKA_COEFFICIENT,
];

const fn line(
    code: CK_ATTRIBUTE_TYPE,
    form: Form,
    classes: Classes,
    set: Set,
    default: Default,
) -> Rule {
    Rule { code, form, classes, set, default }
}

const fn secret_number(code: CK_ATTRIBUTE_TYPE) -> Rule {
    line(code, Form::Bytes, PRIVATE, Set::AtCreation, Default::Nothing)
}

const fn bytes(code: CK_ATTRIBUTE_TYPE, classes: Classes) -> Rule {
    line(code, Form::Bytes, classes, Set::Free, Default::Empty)
}

const fn purpose(code: CK_ATTRIBUTE_TYPE, classes: Classes) -> Rule {
    line(code, Form::Flag, classes, Set::OnlyOff, Default::False)
}

/// All attributes that objects have.
pub(crate) const RULES: &[Rule] = &[
    line(CKA_CLASS, Form::Number, ALL_CLASSES, Set::AtCreation, Default::Nothing),
    line(CKA_TOKEN, Form::Flag, ALL_CLASSES, Set::AtCreation, Default::False),
    line(CKA_PRIVATE, Form::Flag, ALL_CLASSES, Set::AtCreation, Default::Kept),
    line(CKA_MODIFIABLE, Form::Flag, ALL_CLASSES, Set::AtCreation, Default::True),
    line(CKA_COPYABLE, Form::Flag, ALL_CLASSES, Set::OnlyOff, Default::True),
    line(CKA_DESTROYABLE, Form::Flag, ALL_CLASSES, Set::AtCreation, Default::True),
    bytes(CKA_LABEL, ALL_CLASSES),
    // data
    bytes(CKA_APPLICATION, DATA),
    bytes(CKA_OBJECT_ID, DATA),
    // certificates
    line(CKA_CERTIFICATE_TYPE, Form::Number, CERTIFICATE, Set::AtCreation, Default::Nothing),
    line(
        CKA_CERTIFICATE_CATEGORY,
        Form::Number,
        CERTIFICATE,
        Set::AtCreation,
        Default::Number(CK_CERTIFICATE_CATEGORY_UNSPECIFIED),
    ),
    line(CKA_CHECK_VALUE, Form::Bytes, CERTIFICATE, Set::AtCreation, Default::Nothing),
    line(CKA_ISSUER, Form::Bytes, CERTIFICATE, Set::Free, Default::Empty),
    line(CKA_SERIAL_NUMBER, Form::Bytes, CERTIFICATE, Set::Free, Default::Empty),
    line(CKA_URL, Form::Bytes, CERTIFICATE, Set::AtCreation, Default::Nothing),
    line(
        CKA_HASH_OF_SUBJECT_PUBLIC_KEY,
        Form::Bytes,
        CERTIFICATE,
        Set::AtCreation,
        Default::Nothing,
    ),
    line(
        CKA_HASH_OF_ISSUER_PUBLIC_KEY,
        Form::Bytes,
        CERTIFICATE,
        Set::AtCreation,
        Default::Nothing,
    ),
    line(CKA_TRUSTED, Form::Flag, CERTIFICATE | PUBLIC | SECRET, Set::AtCreation, Default::False),
    // certificates and keys
    bytes(CKA_ID, CERTIFICATE | KEYS),
    bytes(CKA_SUBJECT, CERTIFICATE | PUBLIC | PRIVATE),
    line(CKA_START_DATE, Form::Date, CERTIFICATE | KEYS, Set::Free, Default::Empty),
    line(CKA_END_DATE, Form::Date, CERTIFICATE | KEYS, Set::Free, Default::Empty),
    line(
        CKA_PUBLIC_KEY_INFO,
        Form::Bytes,
        CERTIFICATE | PUBLIC | PRIVATE,
        Set::AtCreation,
        Default::Nothing,
    ),
    // keys
    line(CKA_KEY_TYPE, Form::Number, KEYS, Set::AtCreation, Default::Nothing),
    line(CKA_LOCAL, Form::Flag, KEYS, Set::Never, Default::False),
    line(
        CKA_KEY_GEN_MECHANISM,
        Form::Number,
        KEYS,
        Set::Never,
        Default::Number(CK_UNAVAILABLE_INFORMATION),
    ),
    line(CKA_ALLOWED_MECHANISMS, Form::Numbers, KEYS, Set::AtCreation, Default::Nothing),
    purpose(CKA_DERIVE, KEYS),
    purpose(CKA_ENCRYPT, PUBLIC | SECRET),
    purpose(CKA_DECRYPT, KEPT),
    purpose(CKA_SIGN, KEPT),
    purpose(CKA_VERIFY, PUBLIC | SECRET),
    purpose(CKA_SIGN_RECOVER, PRIVATE),
    purpose(CKA_VERIFY_RECOVER, PUBLIC),
    purpose(CKA_WRAP, PUBLIC | SECRET),
    purpose(CKA_UNWRAP, KEPT),
    // what is kept secret
    line(CKA_SENSITIVE, Form::Flag, KEPT, Set::OnlyOn, Default::Nothing),
    line(CKA_EXTRACTABLE, Form::Flag, KEPT, Set::OnlyOff, Default::False),
    line(CKA_ALWAYS_SENSITIVE, Form::Flag, KEPT, Set::Never, Default::False),
    line(CKA_NEVER_EXTRACTABLE, Form::Flag, KEPT, Set::Never, Default::False),
    line(CKA_WRAP_WITH_TRUSTED, Form::Flag, KEPT, Set::OnlyOn, Default::False),
    line(CKA_ALWAYS_AUTHENTICATE, Form::Flag, PRIVATE, Set::AtCreation, Default::False),
    // what keys are made of
    line(
        CKA_VALUE,
        Form::Bytes,
        DATA | CERTIFICATE | PRIVATE | SECRET,
        Set::AtCreation,
        Default::Nothing,
    ),
    line(CKA_VALUE_LEN, Form::Number, SECRET, Set::AtCreation, Default::Nothing),
    line(CKA_MODULUS, Form::Bytes, PUBLIC | PRIVATE, Set::AtCreation, Default::Nothing),
    line(CKA_MODULUS_BITS, Form::Number, PUBLIC, Set::AtCreation, Default::Nothing),
    line(CKA_PUBLIC_EXPONENT, Form::Bytes, PUBLIC | PRIVATE, Set::AtCreation, Default::Nothing),
    line(CKA_EC_PARAMS, Form::Bytes, PUBLIC | PRIVATE, Set::AtCreation, Default::Nothing),
    line(CKA_EC_POINT, Form::Bytes, PUBLIC | PRIVATE, Set::AtCreation, Default::Nothing),
    secret_number(CKA_PRIVATE_EXPONENT),
    secret_number(CKA_PRIME_1),
    secret_number(CKA_PRIME_2),
    secret_number(CKA_EXPONENT_1),
    secret_number(CKA_EXPONENT_2),
    secret_number(CKA_COEFFICIENT),
];
