//! What other processes have changed of keys and accounts. PostgreSQL writes each
//! change down by itself and notifies whoever listens; here is read which. An
//! SQLite file has one process, and nothing of this.

use std::{sync::Arc, time::Duration};

use sqlx::{
    AnyConnection, Connection as _, Executor as _, Row as _, any::AnyRow, postgres::PgListener,
};

use super::{
    Database, Store, StoreError,
    ledger::give_back,
    postgres::{self, BOUNDS},
};
use crate::key::{AccountId, KeyHash};

/// As the migration names it.
const CHANNEL: &str = "llm_proxy_change";
/// Read at a time.
const AT_ONCE: i64 = 1_000;
/// A store that is slow is still asked; one that says nothing is asked anew, on
/// another connection.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// One change, by whichever process.
#[derive(Debug)]
pub(crate) struct Change {
    /// The value that keys are known by.
    pub(crate) hash: Option<KeyHash>,
    /// Its definition may be another now.
    pub(crate) account: Option<AccountId>,
    /// What an operator has added to the account's spend, in nano-dollars. None
    /// where this process has done so itself.
    pub(crate) corrected: Option<i64>,
}

/// What there is to know since the last time.
#[derive(Debug)]
pub(crate) enum News {
    Changes(Vec<Change>),
    /// More has happened than the store remembers: anything may have changed.
    Anything,
}

/// A place in the sequence of changes, and a connection of its own to read on
/// from it, so that full pools delay no revocation.
#[derive(Debug)]
pub(crate) struct Changes {
    shared: Arc<postgres::Shared>,
    connection: Option<AnyConnection>,
    seen: i64,
}

impl Store {
    /// All changes from now on; none where no other process can make any.
    pub(crate) async fn changes(&self) -> Result<Option<Changes>, StoreError> {
        let Database::Postgres(shared) = &self.database else {
            return Ok(None);
        };
        let seen = sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) FROM change")
            .fetch_one(&self.reader)
            .await
            .map_err(StoreError::while_doing("reading the last change"))?;
        Ok(Some(Changes {
            shared: Arc::clone(shared),
            connection: None,
            seen,
        }))
    }
}

impl Changes {
    /// What has been committed since the last call.
    pub(crate) async fn next(&mut self) -> Result<News, StoreError> {
        let news = tokio::time::timeout(READ_TIMEOUT, self.read_again()).await;
        let news = news.unwrap_or_else(|_| {
            // The answer may still come, to whoever asks next.
            self.connection = None;
            Err(sqlx::Error::PoolTimedOut)
        });
        news.map_err(StoreError::while_doing("reading changes"))
    }

    /// A connection that has ended since the last time is no failure.
    async fn read_again(&mut self) -> Result<News, sqlx::Error> {
        let was_connected = self.connection.is_some();
        match self.read().await {
            Err(_) if was_connected => self.read().await,
            news => news,
        }
    }

    async fn read(&mut self) -> Result<News, sqlx::Error> {
        // Only put back once it has answered.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.shared).await?,
        };
        // What has been read counts as seen once all of it is handed over: a read
        // that ends half way is begun again where this one began.
        let (mut changes, mut seen) = (Vec::new(), self.seen);
        loop {
            let rows = sqlx::query(
                "SELECT bounds.oldest, bounds.latest, id, hash, scope, subject, corrected_nanousd,
                     origin
                 FROM (SELECT MIN(id) AS oldest, COALESCE(MAX(id), 0) AS latest FROM change) bounds
                 LEFT JOIN change ON id > $1 ORDER BY id LIMIT $2",
            )
            .bind(seen)
            .bind(AT_ONCE)
            .fetch_all(&mut connection)
            .await?;
            let before = changes.len();
            for row in &rows {
                let latest = row.try_get("latest")?;
                if is_broken(row, seen, latest)? {
                    self.seen = latest;
                    self.connection = Some(connection);
                    return Ok(News::Anything);
                }
                // Nulls where there is none.
                if let Some(id) = row.try_get("id")? {
                    changes.push(change(row, &self.shared.origin)?);
                    seen = id;
                }
            }
            if changes.len() == before {
                self.seen = seen;
                self.connection = Some(connection);
                return Ok(News::Changes(changes));
            }
        }
    }
}

/// Whether the sequence does not go on from what was seen: older changes are gone
/// that were not read, or those that were are, as after a failover to a standby
/// that had not heard of them.
fn is_broken(row: &AnyRow, seen: i64, latest: i64) -> Result<bool, sqlx::Error> {
    let oldest = row.try_get::<Option<i64>, _>("oldest")?;
    Ok(latest < seen || (latest > seen && oldest.is_some_and(|oldest| oldest > seen + 1)))
}

async fn connect(shared: &postgres::Shared) -> Result<AnyConnection, sqlx::Error> {
    let mut connection = AnyConnection::connect(shared.url.expose()).await?;
    connection.execute(BOUNDS).await?;
    Ok(connection)
}

fn change(row: &AnyRow, origin: &str) -> Result<Change, sqlx::Error> {
    let text = |column| row.try_get::<Option<String>, _>(column);
    let (hash, account) = (text("hash")?, text("scope")?.zip(text("subject")?));
    let corrected = row.try_get("corrected_nanousd")?;
    let is_own = text("origin")?.as_deref() == Some(origin);
    Ok(Change {
        hash: hash.as_deref().and_then(KeyHash::from_hex),
        account: account.and_then(|(scope, subject)| AccountId::parse(&scope, &subject)),
        corrected: (!is_own && corrected != 0).then_some(corrected),
    })
}

/// What a [`Listener`] heard.
#[derive(Debug)]
pub(crate) enum Heard {
    Change,
    /// What one process tells the others of an allotment.
    Allotment(String),
}

/// Hears that there are changes, and what is said of allotments, from the moment
/// that it is there.
#[derive(Debug)]
pub(crate) struct Listener(PgListener);

impl Listener {
    /// On a connection of its own. None where nobody else can change anything.
    pub(crate) async fn connect(store: &Store) -> Result<Option<Self>, StoreError> {
        let Database::Postgres(shared) = &store.database else {
            return Ok(None);
        };
        let listen = async {
            let mut listener = PgListener::connect(shared.url.expose()).await?;
            listener.eager_reconnect(false);
            listener.listen_all([CHANNEL, give_back::CHANNEL]).await?;
            Ok(listener)
        };
        match tokio::time::timeout(READ_TIMEOUT, listen).await {
            Ok(listener) => listener.map(Self).map(Some),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
        .map_err(StoreError::while_doing("listening for changes"))
    }

    /// Resolves at the next notification.
    ///
    /// # Errors
    /// When the connection is lost: make another, and read what it has missed.
    pub(crate) async fn heard(&mut self) -> Result<Heard, StoreError> {
        let heard = match self.0.try_recv().await {
            Ok(Some(word)) if word.channel() == give_back::CHANNEL => {
                Ok(Heard::Allotment(word.payload().to_owned()))
            }
            Ok(Some(_)) => Ok(Heard::Change),
            Ok(None) => Err(sqlx::Error::WorkerCrashed),
            Err(error) => Err(error),
        };
        heard.map_err(StoreError::while_doing("listening for changes"))
    }
}
