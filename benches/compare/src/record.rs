use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::work::{Arrangement, Row, Sample, Subject};

/// One measurement, a line of a results file. Files of several runs can be reported together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub subject: Subject,
    pub row: Row,
    #[serde(default)]
    pub arrangement: Arrangement,
    pub outcome: Outcome,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// A round.
    Timed(Sample),
    /// Counted in runs that were not timed; for each message.
    Counted {
        allocations: f64,
        system_calls: Option<f64>,
    },
    /// The client failed, or stood still.
    Failed(String),
}

impl Record {
    /// Reads a results file.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(path: &Path) -> io::Result<Vec<Self>> {
        let lines = BufReader::new(File::open(path)?).lines();
        lines
            .map(|line| Ok(serde_json::from_str(&line?)?))
            .collect()
    }

    /// Adds it to a results file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "{}", serde_json::to_string(self)?)
    }
}
