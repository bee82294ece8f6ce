//! Owns a key's own limits in the key API: the fields that set them, their
//! definition in the books, and in `shown` how they are shown. A budget with a
//! duration counts from zero again in each of its windows, which follow the
//! calendar.

mod shown;

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sqlx::AnyConnection;

pub(super) use self::shown::{
    Used, current, model_budgets_shown, show, show_rates, spend_account, used,
};
use super::values::{budget, printable};
use crate::{
    clock::Clock,
    error::ApiError,
    key::{
        AccountId, BUDGET_LIMITS_MAX, BudgetLimit, Key, LIMITED_MODELS_MAX, Limits, OwnBudget,
        Period,
    },
    store::{self, StoreError, ledger::window},
};

/// Far above the name of any model.
const MODEL_CHARACTERS_MAX: usize = 255;
/// More than any gateway serves in a minute, and exact in every reader's numbers.
const COUNT_MAX: u64 = 1_000_000_000_000;

/// The limits that a request sets. The outer option: whether the field was sent;
/// null and what is empty take the limit away.
#[derive(Debug, Default)]
pub(super) struct LimitFields {
    budget_duration: Option<Option<Period>>,
    budget_limits: Option<Vec<BudgetLimit>>,
    model_max_budget: Option<BTreeMap<String, BudgetLimit>>,
    rpm: Option<Option<u64>>,
    tpm: Option<Option<u64>>,
    parallel: Option<Option<u64>>,
    model_rpm: Option<BTreeMap<String, u64>>,
    model_tpm: Option<BTreeMap<String, u64>>,
}

/// LiteLLM: rates by model are kept among the metadata of a key, a team or a user.
const MODEL_RPM: &str = "model_rpm_limit";
const MODEL_TPM: &str = "model_tpm_limit";

impl LimitFields {
    /// Reads one field; false where it is none of a limit.
    pub(super) fn take(&mut self, name: &str, value: &Value) -> Result<bool, ApiError> {
        match name {
            "budget_duration" => self.budget_duration = Some(period(name, value)?),
            "budget_limits" => self.budget_limits = Some(budget_limits(value)?),
            "model_max_budget" => self.model_max_budget = Some(model_budgets(value)?),
            "rpm_limit" => self.rpm = Some(count(name, value)?),
            "tpm_limit" => self.tpm = Some(count(name, value)?),
            "max_parallel_requests" => self.parallel = Some(count(name, value)?),
            MODEL_RPM => self.model_rpm = Some(model_counts(MODEL_RPM, value)?),
            MODEL_TPM => self.model_tpm = Some(model_counts(MODEL_TPM, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// LiteLLM: metadata that was read may be sent back with the limits in it.
    pub(super) fn take_from(&mut self, metadata: &mut Map<String, Value>) -> Result<(), ApiError> {
        let (rpm, tpm) = (metadata.remove(MODEL_RPM), metadata.remove(MODEL_TPM));
        if let (None, Some(value)) = (&self.model_rpm, rpm) {
            self.model_rpm = Some(model_counts(MODEL_RPM, &value)?);
        }
        if let (None, Some(value)) = (&self.model_tpm, tpm) {
            self.model_tpm = Some(model_counts(MODEL_TPM, &value)?);
        }
        Ok(())
    }

    pub(super) fn touch_budgets(&self) -> bool {
        self.budget_duration.is_some()
            || self.budget_limits.is_some()
            || self.model_max_budget.is_some()
    }

    pub(super) fn apply(&self, limits: &mut Limits) {
        if let Some(period) = self.budget_duration {
            limits.budget_duration = period;
        }
        if let Some(budgets) = &self.budget_limits {
            limits.budget_limits.clone_from(budgets);
        }
        if let Some(budgets) = &self.model_max_budget {
            limits.model_max_budget.clone_from(budgets);
        }
        limits.rpm = self.rpm.unwrap_or(limits.rpm);
        limits.tpm = self.tpm.unwrap_or(limits.tpm);
        limits.parallel = self.parallel.unwrap_or(limits.parallel);
        if let Some(counts) = &self.model_rpm {
            limits.model_rpm.clone_from(counts);
        }
        if let Some(counts) = &self.model_tpm {
            limits.model_tpm.clone_from(counts);
        }
    }
}

/// LiteLLM: a whole number or its text; zero refuses every call. A negative one,
/// which LiteLLM takes, is refused: nobody can say what it means.
fn count(name: &str, value: &Value) -> Result<Option<u64>, ApiError> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    };
    let whole = text.strip_suffix(".0").unwrap_or(&text);
    let count = whole
        .parse::<u64>()
        .ok()
        .filter(|count| *count <= COUNT_MAX);
    if count.is_some() {
        return Ok(count);
    }
    if text.parse::<f64>().is_err() {
        let message = "Input should be a valid integer";
        return Err(ApiError::validation("int_parsing", ["body", name], message));
    }
    let message = format!("must be a whole number from 0 to {COUNT_MAX}; null for no limit");
    Err(refused(name, message))
}

fn model_counts(field: &'static str, value: &Value) -> Result<BTreeMap<String, u64>, ApiError> {
    by_model(field, value, |entry| {
        let missing = || refused(field, "needs a number for each model");
        count(field, entry)?.ok_or_else(missing)
    })
}

const PERIOD: &str =
    "a whole number and a unit (s, m, h, d, w or mo), as in 30d, of at most ten years";

fn period(name: &str, value: &Value) -> Result<Option<Period>, ApiError> {
    if value.is_null() {
        return Ok(None);
    }
    let period = value.as_str().and_then(Period::parse);
    period.map(Some).ok_or_else(|| {
        let message =
            format!("must be {PERIOD}; null for a budget that never counts from zero again");
        refused(name, message)
    })
}

fn budget_limits(value: &Value) -> Result<Vec<BudgetLimit>, ApiError> {
    const FIELD: &str = "budget_limits";
    if value.is_null() {
        return Ok(Vec::new());
    }
    let wrong =
        || ApiError::validation("list_type", ["body", FIELD], "Input should be a valid list");
    let entries = value.as_array().ok_or_else(wrong)?;
    if entries.len() > BUDGET_LIMITS_MAX {
        let message = format!("has room for {BUDGET_LIMITS_MAX} budgets a key");
        return Err(refused(FIELD, message));
    }
    let mut budgets: Vec<BudgetLimit> = Vec::with_capacity(entries.len());
    for entry in entries {
        // LiteLLM: what was read may be sent back, and says when it resets.
        let names = [&["max_budget"][..], &["budget_duration"], &["reset_at"]];
        let one = entry_of(FIELD, entry, names)?;
        if one.period.is_none() {
            return Err(refused(FIELD, "needs a budget_duration in each, as in 1d"));
        }
        if budgets.iter().any(|other| other.period == one.period) {
            return Err(refused(FIELD, "may hold each budget_duration once"));
        }
        budgets.push(one);
    }
    Ok(budgets)
}

fn model_budgets(value: &Value) -> Result<BTreeMap<String, BudgetLimit>, ApiError> {
    const FIELD: &str = "model_max_budget";
    // LiteLLM: each under two names.
    let names = [
        &["budget_limit", "max_budget"][..],
        &["time_period", "budget_duration"],
        &[],
    ];
    by_model(FIELD, value, |entry| entry_of(FIELD, entry, names))
}

/// An object whose names are models.
fn by_model<T>(
    field: &'static str,
    value: &Value,
    read: impl Fn(&Value) -> Result<T, ApiError>,
) -> Result<BTreeMap<String, T>, ApiError> {
    let entries = match value {
        Value::Null => return Ok(BTreeMap::new()),
        Value::Object(entries) => entries,
        _ => {
            let message = "Input should be a valid dictionary";
            return Err(ApiError::validation("dict_type", ["body", field], message));
        }
    };
    if entries.len() > LIMITED_MODELS_MAX {
        let message = format!("has room for {LIMITED_MODELS_MAX} models a key");
        return Err(refused(field, message));
    }
    let is_usable = |model: &str| {
        (1..=MODEL_CHARACTERS_MAX).contains(&model.chars().count())
            && !model.chars().any(char::is_control)
    };
    if !entries.keys().all(|model| is_usable(model)) {
        let message = format!(
            "must name models of 1 to {MODEL_CHARACTERS_MAX} characters, none of them a control character"
        );
        return Err(refused(field, message));
    }
    // As `models` takes them; no call would ever meet such a limit.
    if entries.keys().any(|model| model.contains('*')) {
        let message = "must name each model in full: a pattern limits none";
        return Err(refused(field, message));
    }
    let one = |(model, entry): (&String, &Value)| Ok((model.clone(), read(entry)?));
    entries.iter().map(one).collect()
}

/// One budget; `names` are those of its amount, of its period, and without effect.
fn entry_of(
    field: &'static str,
    entry: &Value,
    names: [&[&'static str]; 3],
) -> Result<BudgetLimit, ApiError> {
    let [amounts, periods, _] = names;
    let entry = entry.as_object().ok_or_else(|| {
        let message = format!("must hold objects with {} and {}", amounts[0], periods[0]);
        refused(field, message)
    })?;
    let is_known = |name: &String| names.iter().any(|known| known.contains(&name.as_str()));
    if let Some(unknown) = entry.keys().find(|name| !is_known(name)) {
        let message = format!("does not support the field {} in it", printable(unknown));
        return Err(refused(field, message));
    }
    let sent = |known: &[&'static str]| {
        let values = known.iter().filter_map(|name| entry.get(*name));
        values.filter(|value| !value.is_null()).collect::<Vec<_>>()
    };
    let (amount, length) = (sent(amounts), sent(periods));
    if amount.len() > 1 || length.len() > 1 {
        return Err(refused(field, "may say each thing under one name only"));
    }
    let amount = amount
        .first()
        .map_or(Ok(None), |value| budget(field, value));
    let amount = amount.map_err(|_| {
        refused(
            field,
            "needs amounts that are non-negative finite numbers of USD, at most 9 billion",
        )
    })?;
    let length = length
        .first()
        .map_or(Ok(None), |value| period(field, value));
    let length =
        length.map_err(|_| refused(field, format!("needs each {} to be {PERIOD}", periods[0])))?;
    Ok(BudgetLimit {
        max_nanousd: amount.ok_or_else(|| {
            refused(
                field,
                format!("needs {}: how many USD may be spent", amounts[0]),
            )
        })?,
        period: length,
    })
}

fn refused(field: &str, message: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(field, format!("{field} {message}"))
}

/// Every account that [`define`] writes.
pub(super) fn accounts(key: &Key, clock: &Clock) -> Vec<AccountId> {
    let now = clock.now();
    let further = key.own_budgets();
    let of = |budget: &OwnBudget| -> Vec<AccountId> {
        window::decided(&budget.account, budget.period, now).collect()
    };
    let further = further.iter().flat_map(of);
    std::iter::once(key.own_account()).chain(further).collect()
}

/// Writes what the key's own account and its further budgets may spend. Answers
/// the accounts that may spend another amount than before. `clock` is read
/// inside of the transaction: no window that is opened before its end is later
/// than those that are redefined.
pub(super) async fn define(
    write: &mut AnyConnection,
    key: &Key,
    clock: &Clock,
) -> Result<Vec<AccountId>, StoreError> {
    let mut changed = Vec::new();
    let own = key.own_account();
    if store::ledger::set_limit(write, &own, key.lifetime_budget()).await? {
        changed.push(own);
    }
    let now = clock.now();
    for budget in key.own_budgets() {
        let OwnBudget {
            account,
            limit,
            period,
        } = budget;
        changed.extend(window::define(write, &account, limit, period, now).await?);
    }
    Ok(changed)
}
