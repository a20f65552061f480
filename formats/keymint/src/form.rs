//! The two forms of a number with a name: the name for people, the number for machines.

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};
use std::fmt;

/// A number with a name.
pub(crate) trait Named: Copy + Sized + 'static {
    /// What such numbers are called together, as `an algorithm`.
    const KIND: &'static str;

    /// All of them.
    fn all() -> &'static [Self];
    /// KeyMint's number.
    fn number(self) -> i64;
    /// KeyMint's name in snake case.
    fn name(self) -> &'static str;

    fn with_number(number: i64) -> Option<Self> {
        Self::all().iter().copied().find(|it| it.number() == number)
    }

    fn with_name(name: &str) -> Option<Self> {
        Self::all().iter().copied().find(|it| it.name() == name)
    }
}

pub(crate) fn serialize<T: Named, S: Serializer>(value: T, to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() {
        to.serialize_str(value.name())
    } else {
        to.serialize_i64(value.number())
    }
}

pub(crate) fn deserialize<'de, T: Named, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let visitor = NamedVisitor(std::marker::PhantomData);
    if from.is_human_readable() {
        from.deserialize_str(visitor)
    } else {
        from.deserialize_i64(visitor)
    }
}

struct NamedVisitor<T>(std::marker::PhantomData<T>);

impl<T: Named> Visitor<'_> for NamedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::KIND)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        T::with_name(name).ok_or_else(|| {
            let names: Vec<_> = T::all().iter().map(|it| it.name()).collect();
            E::custom(format!("{name:?} is not {}: {}", T::KIND, names.join(", ")))
        })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        T::with_number(number).ok_or_else(|| E::custom(format!("{number} is not {}", T::KIND)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        let small = i64::try_from(number).map_err(|_| E::custom("a number out of range"))?;
        self.visit_i64(small)
    }
}

/// Gives a [`Named`] type its serde forms, its text and its public look-ups.
macro_rules! named_forms {
    ($type:ident) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                crate::form::serialize(*self, to)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                crate::form::deserialize(from)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(crate::form::Named::name(*self))
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;

            /// From KeyMint's name in snake case.
            fn from_str(name: &str) -> Result<Self, String> {
                <Self as crate::form::Named>::with_name(name).ok_or_else(|| {
                    let kind = <Self as crate::form::Named>::KIND;
                    let names: Vec<_> = <Self as crate::form::Named>::all()
                        .iter()
                        .map(|it| crate::form::Named::name(*it))
                        .collect();
                    format!("{name:?} is not {kind}: {}", names.join(", "))
                })
            }
        }
    };
}

pub(crate) use named_forms;
