//! Access policies in Vault's language: which paths, and what may be done there.
//!
//! ```text
//! path "transit/encrypt/user-{{identity.sub}}" {
//!   capabilities = ["update"]
//! }
//! ```
//!
//! A path ends in `*` for all that begins so, has `+` for any one segment, and
//! `{{identity.sub}}` for the caller's own subject. A `deny` that matches decides; else the most
//! specific path that matches, over all the caller's policies; else the answer is no. Lines
//! beginning with `#` are remarks.

/// What a service may do: run the accounts' keys, without using them.
pub const CLOUD: &str = r#"# The cloud's services: the use of their own keys; the owners' keys
# they make and destroy and never use.
path "transit/keys"                { capabilities = ["list"] }
path "transit/keys/pii"            { capabilities = ["create", "read"] }
path "transit/keys/pii-index"      { capabilities = ["create", "read"] }
path "transit/keys/password"       { capabilities = ["create", "read"] }
path "transit/encrypt/pii"         { capabilities = ["update"] }
path "transit/decrypt/pii"         { capabilities = ["update"] }
path "transit/rewrap/pii"          { capabilities = ["update"] }
path "transit/datakey/+/pii"       { capabilities = ["update"] }
path "transit/hmac/pii-index"      { capabilities = ["update"] }
path "transit/verify/pii-index"    { capabilities = ["update"] }
path "transit/encrypt/password"    { capabilities = ["update"] }
path "transit/decrypt/password"    { capabilities = ["update"] }
path "transit/rewrap/password"     { capabilities = ["update"] }
path "transit/random"              { capabilities = ["update"] }
path "transit/keys/user-*"         { capabilities = ["create", "read", "update", "delete"] }
path "transit/encrypt/user-*"      { capabilities = ["deny"] }
path "transit/decrypt/user-*"      { capabilities = ["deny"] }
path "transit/rewrap/user-*"       { capabilities = ["deny"] }
path "transit/datakey/+/user-*"    { capabilities = ["deny"] }
path "transit/hmac/user-*"         { capabilities = ["deny"] }
path "transit/verify/user-*"       { capabilities = ["deny"] }
path "auth/jwt/config"             { capabilities = ["create", "read"] }
path "sys/policies/acl/*"          { capabilities = ["read"] }
"#;

/// What the signed-in owner of an account may do: use the account's key, and no other.
pub const OWNER: &str = r#"# The signed-in owner of an account: the use of the account's own key.
path "transit/keys/user-{{identity.sub}}"      { capabilities = ["read"] }
path "transit/encrypt/user-{{identity.sub}}"   { capabilities = ["update"] }
path "transit/decrypt/user-{{identity.sub}}"   { capabilities = ["update"] }
path "transit/rewrap/user-{{identity.sub}}"    { capabilities = ["update"] }
path "transit/datakey/+/user-{{identity.sub}}" { capabilities = ["update"] }
path "transit/hmac/user-{{identity.sub}}"      { capabilities = ["update"] }
path "transit/verify/user-{{identity.sub}}"    { capabilities = ["update"] }
path "sys/policies/acl/owner"                  { capabilities = ["read"] }
"#;

/// What every token may do with itself.
pub const DEFAULT: &str = r#"# Every caller, with its own token.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
"#;

/// Something that can be done at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Make what is not there.
    Create,
    /// Look at it.
    Read,
    /// Change or use it.
    Update,
    /// Enumerate what is below.
    List,
    /// Destroy it.
    Delete,
    /// Nothing, whatever else is granted.
    Deny,
}

/// A policy's text is not of the language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy, near {near:?}: expected {expected}")]
pub struct SyntaxError {
    /// The text from where reading stopped, shortened.
    pub near: String,
    /// What should stand there.
    pub expected: &'static str,
}

/// The rules of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    path: String,
    capabilities: Vec<Capability>,
}

impl Policy {
    /// Reads a policy's text.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut rules = Vec::new();
        let mut reader = Reader { rest: text };
        while !reader.at_end() {
            rules.push(reader.rule()?);
        }
        Ok(Self(rules))
    }
}

/// Whether a caller with these policies, known as `subject`, may do `wanted` at `path`.
#[must_use]
pub fn allows<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
    subject: Option<&str>,
    path: &str,
    wanted: Capability,
) -> bool {
    let mut best: Option<(Specificity, bool)> = None;
    for rule in policies.into_iter().flat_map(|policy| &policy.0) {
        let Some(specificity) = rule.matches(subject, path) else { continue };
        if rule.capabilities.contains(&Capability::Deny) {
            return false;
        }
        let grants = rule.capabilities.contains(&wanted);
        best = Some(match best {
            Some((other, granted)) if other == specificity => (other, granted || grants),
            Some(other) if other.0 > specificity => other,
            _ => (specificity, grants),
        });
    }
    best.is_some_and(|(_, granted)| granted)
}

/// How closely a rule names a path; the greater decides. Exact before glob, long literal
/// beginnings before short ones, few `+` before many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Specificity {
    exact: bool,
    literal_start: usize,
    length: usize,
    fewer_wildcards: std::cmp::Reverse<usize>,
}

impl Rule {
    fn matches(&self, subject: Option<&str>, path: &str) -> Option<Specificity> {
        const SUBJECT: &str = "{{identity.sub}}";
        let pattern = match (self.path.contains(SUBJECT), subject) {
            (false, _) => self.path.clone(),
            (true, Some(subject)) if is_plain(subject) => self.path.replace(SUBJECT, subject),
            (true, _) => return None,
        };
        let (body, exact) = match pattern.strip_suffix('*') {
            Some(body) => (body, false),
            None => (pattern.as_str(), true),
        };
        segments_match(body, path, exact).then(|| Specificity {
            exact: exact && !body.contains('+'),
            literal_start: body.find('+').unwrap_or(body.len()),
            length: body.len(),
            fewer_wildcards: std::cmp::Reverse(body.matches('+').count()),
        })
    }
}

/// A subject that cannot be taken for a part of the language.
fn is_plain(subject: &str) -> bool {
    !subject.is_empty()
        && subject.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn segments_match(pattern: &str, path: &str, exact: bool) -> bool {
    let mut pattern = pattern.split('/').peekable();
    let mut path = path.split('/');
    while let Some(want) = pattern.next() {
        let Some(have) = path.next() else { return false };
        let last = pattern.peek().is_none();
        let same = want == "+" && !have.is_empty() || want == have;
        if last && !exact {
            return same || have.starts_with(want);
        }
        if !same {
            return false;
        }
    }
    path.next().is_none()
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn at_end(&mut self) -> bool {
        self.skip();
        self.rest.is_empty()
    }

    /// White space and remarks.
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
        while self.rest.starts_with('#') {
            let line = self.rest.find('\n').unwrap_or(self.rest.len());
            self.rest = self.rest[line..].trim_start();
        }
    }

    fn rule(&mut self) -> Result<Rule, SyntaxError> {
        self.word("path")?;
        let path = self.string()?.to_owned();
        self.word("{")?;
        self.word("capabilities")?;
        self.word("=")?;
        self.word("[")?;
        let mut capabilities = vec![self.capability()?];
        while self.word("]").is_err() {
            self.word(",")?;
            capabilities.push(self.capability()?);
        }
        self.word("}")?;
        Ok(Rule { path, capabilities })
    }

    fn word(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        self.skip();
        self.rest = self.rest.strip_prefix(word).ok_or_else(|| self.expected(word))?;
        Ok(())
    }

    fn string(&mut self) -> Result<&'a str, SyntaxError> {
        const STRING: &str = "a string in double quotes";
        self.skip();
        let body = self.rest.strip_prefix('"').ok_or_else(|| self.expected(STRING))?;
        let (string, rest) = body.split_once('"').ok_or_else(|| self.expected(STRING))?;
        self.rest = rest;
        Ok(string)
    }

    fn capability(&mut self) -> Result<Capability, SyntaxError> {
        let before = Self { rest: self.rest };
        Ok(match self.string()? {
            "create" => Capability::Create,
            "read" => Capability::Read,
            "update" => Capability::Update,
            "list" => Capability::List,
            "delete" => Capability::Delete,
            "deny" => Capability::Deny,
            _ => return Err(before.expected("create, read, update, list, delete or deny")),
        })
    }

    fn expected(&self, expected: &'static str) -> SyntaxError {
        SyntaxError { near: self.rest.chars().take(24).collect(), expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Capability::{Create, Delete, List, Read, Update};

    fn check(texts: &[&str], subject: Option<&str>, path: &str, wanted: Capability) -> bool {
        let policies: Vec<_> = texts.iter().map(|text| Policy::parse(text).unwrap()).collect();
        allows(&policies, subject, path, wanted)
    }

    #[test]
    fn s5_1_3_the_cloud_runs_the_owners_keys_but_cannot_use_them() {
        let may = |path: &str, wanted| check(&[CLOUD, DEFAULT], None, path, wanted);
        assert!(may("transit/keys/user-1", Create));
        assert!(may("transit/keys/user-1", Delete));
        assert!(may("transit/keys/user-1/config", Update));
        assert!(may("transit/encrypt/pii", Update));
        assert!(may("transit/datakey/plaintext/pii", Update));
        assert!(may("transit/keys", List));
        for verb in ["encrypt", "decrypt", "rewrap", "datakey/plaintext", "datakey/wrapped", "hmac"]
        {
            assert!(!may(&format!("transit/{verb}/user-1"), Update), "{verb}");
        }
        assert!(!may("transit/keys/pii", Delete));
        assert!(!may("transit/keys/pii/config", Update));
        assert!(!may("transit/keys/other", Create));
        assert!(!may("auth/jwt/config", Update), "the assertion key is registered once");
    }

    #[test]
    fn s5_1_3_an_owner_uses_its_own_key_and_no_other() {
        let may = |subject, path: &str, wanted| check(&[OWNER, DEFAULT], subject, path, wanted);
        assert!(may(Some("1"), "transit/datakey/plaintext/user-1", Update));
        assert!(may(Some("1"), "transit/keys/user-1", Read));
        assert!(!may(Some("1"), "transit/keys/user-1", Delete));
        assert!(!may(Some("1"), "transit/datakey/plaintext/user-2", Update));
        assert!(!may(Some("1"), "transit/datakey/plaintext/user-12", Update));
        assert!(!may(Some("1"), "transit/decrypt/pii", Update));
        assert!(!may(None, "transit/decrypt/user-", Update));
        assert!(!may(Some("*"), "transit/decrypt/user-2", Update), "a subject is no pattern");
        assert!(!may(Some("+"), "transit/decrypt/user-2", Update));
        assert!(!may(Some(""), "transit/decrypt/user-", Update));
    }

    #[test]
    fn a_deny_decides_whatever_else_is_granted() {
        let grant = r#"path "transit/decrypt/user-1" { capabilities = ["update"] }"#;
        let deny = r#"path "transit/*" { capabilities = ["deny"] }"#;
        assert!(check(&[grant], None, "transit/decrypt/user-1", Update));
        assert!(!check(&[grant, deny], None, "transit/decrypt/user-1", Update));
        assert!(!check(&[CLOUD, grant], None, "transit/decrypt/user-1", Update));
    }

    #[test]
    fn the_most_specific_path_decides() {
        let text = r#"
            path "a/*"   { capabilities = ["update", "read"] }
            path "a/b/*" { capabilities = ["read"] }
            path "a/+/c" { capabilities = ["delete"] }
            path "a/b/c" { capabilities = ["list"] }
        "#;
        for (path, yes, no) in
            [("a/x", Update, List), ("a/b/x", Read, Update), ("a/b/c", List, Read)]
        {
            assert!(check(&[text], None, path, yes) && !check(&[text], None, path, no), "{path}");
        }
        assert!(!check(&[text], None, "a", Read));
        assert!(!check(&[text], None, "b/x", Read));
    }

    #[test]
    fn a_plus_stands_for_one_segment() {
        let text = r#"path "datakey/+/pii" { capabilities = ["update"] }"#;
        assert!(check(&[text], None, "datakey/plaintext/pii", Update));
        for path in ["datakey/pii", "datakey//pii", "datakey/a/b/pii", "datakey/a/pii/b"] {
            assert!(!check(&[text], None, path, Update), "{path}");
        }
    }

    #[test]
    fn refuses_text_that_is_no_policy() {
        for text in [
            "path",
            r#"path "a""#,
            r#"path "a { capabilities = ["read"] }"#,
            r#"path "a" { capabilities = [] }"#,
            r#"path "a" { capabilities = ["root"] }"#,
            r#"path "a" { capabilities = ["read" "list"] }"#,
            r#"path "a" { capabilities = ["read"] } rubbish"#,
        ] {
            assert!(Policy::parse(text).is_err(), "{text}");
        }
        assert_eq!(Policy::parse("# only a remark"), Ok(Policy(Vec::new())));
    }
}
