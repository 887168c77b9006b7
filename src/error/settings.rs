/// A field of [`Settings`](crate::Settings) has a value that cannot be used.
///
/// ```
/// let mut settings = snowshoe::Settings::default();
/// settings.client.reconnect.jitter = Some(50.0);
/// let error = settings.check().unwrap_err();
/// assert_eq!(error.field(), "client.reconnect.jitter");
/// assert!(error.to_string().ends_with("give a number from 0 to 1"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the settings have a value for {field} that cannot be used: {advice}")]
pub struct SettingsError {
    field: &'static str,
    advice: String,
}

impl SettingsError {
    pub(crate) fn new(field: &'static str, advice: impl ToString) -> Self {
        let advice = advice.to_string();
        Self { field, advice }
    }

    /// Which field, as it stands in a file, such as `client.name`.
    pub fn field(&self) -> &str {
        self.field
    }
}
