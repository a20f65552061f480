//! A set of authorizations.

use crate::tag::with_tags;
use crate::{
    Algorithm, AuthenticatorType, BlockMode, Bytes, Digest, EcCurve, KeyOrigin, KeyPurpose,
    MlDsaVariant, PaddingMode, Tag,
};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;

/// What a tag's field can be.
trait Field: Default {
    /// Whether the set has the tag.
    fn is_present(&self) -> bool;
}

impl Field for bool {
    fn is_present(&self) -> bool {
        *self
    }
}

impl<T> Field for Option<T> {
    fn is_present(&self) -> bool {
        self.is_some()
    }
}

impl<T: Ord> Field for BTreeSet<T> {
    fn is_present(&self) -> bool {
        !self.is_empty()
    }
}

macro_rules! set {
    ($($(#[$doc:meta])* $variant:ident $field:ident = $number:literal $kind:ident, $set:ident, $kept:ident: $type:ty;)*) => {
        /// Authorizations: the parameters of a key or of an operation, or what a key obeys. A field
        /// is empty, absent or `false` where the set does not have its [`Tag`].
        #[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct Authorizations {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Authorizations {
            /// Whether the set has `tag`.
            #[must_use]
            pub fn has(&self, tag: Tag) -> bool {
                match tag {
                    $(Tag::$variant => self.$field.is_present(),)*
                }
            }

            /// Takes `tag` out.
            pub fn remove(&mut self, tag: Tag) {
                match tag {
                    $(Tag::$variant => self.$field = <$type>::default(),)*
                }
            }

            /// Puts in what `other` has of `tag`.
            pub fn copy(&mut self, tag: Tag, other: &Self) {
                match tag {
                    $(Tag::$variant => self.$field = other.$field.clone(),)*
                }
            }

            fn write<M: SerializeMap>(&self, tag: Tag, map: &mut M) -> Result<(), M::Error> {
                match tag {
                    $(Tag::$variant => map.serialize_value(&self.$field),)*
                }
            }

            fn read<'de, M: MapAccess<'de>>(&mut self, tag: Tag, map: &mut M) -> Result<(), M::Error> {
                match tag {
                    $(Tag::$variant => {
                        if self.$field.is_present() {
                            return Err(M::Error::duplicate_field(stringify!($field)));
                        }
                        self.$field = map.next_value()?;
                    })*
                }
                Ok(())
            }
        }
    };
}

with_tags!(set);

impl Authorizations {
    /// The tags that the set has, ascending.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        Tag::ALL.iter().copied().filter(|tag| self.has(*tag))
    }

    /// Whether the set has no tag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tags().next().is_none()
    }

    /// The part of the set whose tags fulfil `wanted`.
    #[must_use]
    pub fn filtered(&self, wanted: impl Fn(Tag) -> bool) -> Self {
        let mut part = Self::default();
        self.tags().filter(|tag| wanted(*tag)).for_each(|tag| part.copy(tag, self));
        part
    }

    /// This set and `other`; where both have a tag, what `other` has.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        other.tags().for_each(|tag| self.copy(tag, other));
        self
    }
}

impl Serialize for Authorizations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.tags().count()))?;
        for tag in self.tags() {
            map.serialize_key(&tag)?;
            self.write(tag, &mut map)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Authorizations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SetVisitor)
    }
}

struct SetVisitor;

impl<'de> Visitor<'de> for SetVisitor {
    type Value = Authorizations;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from tags to values")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Authorizations, M::Error> {
        let mut set = Authorizations::default();
        while let Some(tag) = map.next_key()? {
            set.read(tag, &mut map)?;
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests;
