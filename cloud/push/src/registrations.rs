//! Who sends (developers) and who receives (registrations).

use crate::{Error, Push};
use crypto::digest::sha256;
use effects::random_array;
use sqlx::{Row as _, Sqlite, Transaction};
use wire::push::{Register, Registration};

/// The most hashed identifiers of a device: IMEI, serial number, Android id.
const HASHED_IDS: usize = 3;
const TABLE: &str = "push_registrations";
const COLUMN: &str = "content_key_sealed";

impl Push {
    /// Lets the holder of `credential` send. The same again is no error.
    pub async fn admit_developer(&self, developer_id: &str, credential: &str) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO push_developers (developer_id, credential_hash, created_at_ms) \
             VALUES ($1, $2, $3) ON CONFLICT (developer_id) \
             DO UPDATE SET credential_hash = excluded.credential_hash",
        )
        .bind(developer_id)
        .bind(&sha256(credential.as_bytes())[..])
        .bind(self.clock.now().0 as i64)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Whose credential this is.
    pub async fn developer(&self, credential: &str) -> Result<String, Error> {
        sqlx::query_scalar("SELECT developer_id FROM push_developers WHERE credential_hash = $1")
            .bind(&sha256(credential.as_bytes())[..])
            .fetch_optional(&self.pool)
            .await?
            .ok_or(Error::NotADeveloper)
    }

    /// Registers an application of a device. The same again gives the same registration.
    pub async fn register(
        &self,
        device_id: &str,
        request: &Register,
    ) -> Result<Registration, Error> {
        check(request)?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let push_id = self.push_id(&mut transaction, device_id, &request.hashed_ids).await?;
        let found = sqlx::query(
            "SELECT registration_id, content_key_sealed FROM push_registrations \
             WHERE push_id = $1 AND app = $2",
        )
        .bind(&push_id)
        .bind(&request.app)
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some(row) = found {
            let registration_id: String = row.get("registration_id");
            let key = self.content_key(&registration_id, &row.get::<Vec<u8>, _>(COLUMN))?;
            transaction.commit().await?;
            return Ok(Registration { registration_id, content_key: key.to_vec().into() });
        }
        let registration_id = self.random_id();
        let key: [u8; 16] = random_array(&*self.entropy);
        sqlx::query(
            "INSERT INTO push_registrations \
             (registration_id, push_id, app, content_key_sealed, created_at_ms) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&registration_id)
        .bind(&push_id)
        .bind(&request.app)
        .bind(self.sealer.seal(TABLE, COLUMN, &registration_id, &key))
        .bind(self.clock.now().0 as i64)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Registration { registration_id, content_key: key.to_vec().into() })
    }

    /// The random id behind these hashes, made where there is none.
    async fn push_id(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        device_id: &str,
        hashed_ids: &[String],
    ) -> Result<String, Error> {
        let mut known = None;
        for hashed in hashed_ids {
            known = known.or(sqlx::query_scalar::<_, String>(
                "SELECT push_id FROM push_identities WHERE hashed_id = $1",
            )
            .bind(hashed)
            .fetch_optional(&mut **transaction)
            .await?);
        }
        let push_id = known.unwrap_or_else(|| self.random_id());
        // The device may have been bound anew; its earlier registrations go with the old binding.
        self.hand_over(transaction, device_id, &push_id).await?;
        for hashed in hashed_ids {
            sqlx::query(
                "INSERT INTO push_identities (hashed_id, push_id) VALUES ($1, $2) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(hashed)
            .bind(&push_id)
            .execute(&mut **transaction)
            .await?;
        }
        Ok(push_id)
    }

    async fn hand_over(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        device_id: &str,
        push_id: &str,
    ) -> Result<(), Error> {
        let holder: Option<String> =
            sqlx::query_scalar("SELECT device_id FROM push_devices WHERE push_id = $1")
                .bind(push_id)
                .fetch_optional(&mut **transaction)
                .await?;
        if holder.is_some_and(|holder| holder != device_id) {
            sqlx::query("DELETE FROM push_registrations WHERE push_id = $1")
                .bind(push_id)
                .execute(&mut **transaction)
                .await?;
        }
        sqlx::query("DELETE FROM push_devices WHERE push_id = $1 OR device_id = $2")
            .bind(push_id)
            .bind(device_id)
            .execute(&mut **transaction)
            .await?;
        sqlx::query(
            "INSERT INTO push_devices (push_id, device_id, last_seen_ms) VALUES ($1, $2, $3)",
        )
        .bind(push_id)
        .bind(device_id)
        .bind(self.clock.now().0 as i64)
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    pub(crate) fn content_key(
        &self,
        registration_id: &str,
        sealed: &[u8],
    ) -> Result<[u8; 16], Error> {
        self.sealer
            .open(TABLE, COLUMN, registration_id, sealed)
            .and_then(|key| key.try_into().ok())
            .ok_or(Error::Damaged("a content key"))
    }

    /// Forgets a device: its identities, registrations and all that waits for it.
    pub async fn forget_device(&self, device_id: &str) -> Result<(), Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let mine = "(SELECT push_id FROM push_devices WHERE device_id = $1)";
        for sql in [
            format!("DELETE FROM push_registrations WHERE push_id IN {mine}"),
            format!("DELETE FROM push_identities WHERE push_id IN {mine}"),
            "DELETE FROM push_devices WHERE device_id = $1".into(),
            "DELETE FROM push_events WHERE device_id = $1".into(),
        ] {
            sqlx::query(&sql).bind(device_id).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Deletes all data of an application, on its developer's instruction.
    pub async fn forget_app(&self, app: &str) -> Result<u64, Error> {
        let deleted = sqlx::query("DELETE FROM push_registrations WHERE app = $1")
            .bind(app)
            .execute(&self.pool)
            .await?;
        Ok(deleted.rows_affected())
    }
}

fn check(request: &Register) -> Result<(), Error> {
    let app_ok = (1..=255).contains(&request.app.len())
        && request.app.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !app_ok {
        let reason = "not a package name such as org.example.app";
        return Err(Error::Invalid { field: "app", reason });
    }
    let hash_ok =
        |id: &String| id.len() == 64 && id.bytes().all(|b| b"0123456789abcdef".contains(&b));
    let count_ok = (1..=HASHED_IDS).contains(&request.hashed_ids.len());
    if !(count_ok && request.hashed_ids.iter().all(hash_ok)) {
        let reason = "one to three SHA-256 digests in lower-case hexadecimal";
        return Err(Error::Invalid { field: "hashed_ids", reason });
    }
    Ok(())
}
