//! The course of a run as a file of comma-separated values, a row a second, each in the file as soon as it is known.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::columns::COLUMNS;
use super::history::Point;
use crate::SwarmError;

/// The file that is being written.
#[derive(Debug)]
pub(super) struct CsvFile {
    path: PathBuf,
    file: File,
}

impl CsvFile {
    /// Makes it, or empties one that is there, and writes the names of the columns.
    pub(super) fn create(path: &Path) -> Result<Self, SwarmError> {
        let failed = || SwarmError::io(format!("--csv {}", path.display()));
        let mut file = File::create(path).map_err(failed())?;
        write_row(&mut file, COLUMNS.iter().map(|column| column.name.to_owned())).map_err(failed())?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Adds a row.
    pub(super) fn write(&mut self, point: &Point) -> Result<(), SwarmError> {
        write_row(&mut self.file, COLUMNS.iter().map(|column| (column.value)(point).map_or_else(String::new, cell)))
            .map_err(SwarmError::io(format!("--csv {}", self.path.display())))
    }
}

/// Writes a row at once, so that a reader never sees half of one. No cell needs quotes.
fn write_row(out: &mut impl Write, cells: impl Iterator<Item = String>) -> io::Result<()> {
    let mut row = cells.collect::<Vec<_>>().join(",");
    row.push('\n');
    out.write_all(row.as_bytes())
}

/// With three decimals at most.
fn cell(value: f64) -> String {
    format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::latency::Percentiles;
    use crate::report::history::History;
    use crate::sample::{Sample, ServerSample};

    #[test]
    fn given_samples_when_written_then_the_file_has_a_row_each_and_empty_cells_for_what_was_not_measured() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("course.csv");
        let (mut file, mut history) = (CsvFile::create(&path).expect("a file"), History::default());
        let latency =
            Percentiles { count: 1980, p50_us: 850, p90_us: 1_200, p99_us: 8_100, p999_us: 21_000, max_us: 40_123 };
        let samples = [
            Sample { at_s: 1.0, open: 900, opening: 100, generator_cpu_percent: 31.25, ..Sample::default() },
            Sample {
                at_s: 2.0005,
                open: 1_000,
                dropped: 2,
                refused: 1,
                sent: 2_001,
                accepted: 1_990,
                delivered: 1_980,
                latency,
                server: Some(ServerSample { rss_bytes: 50_331_648, cpu_percent: 47.976 }),
                generator_cpu_percent: 12.0,
                ..Sample::default()
            },
        ];
        for sample in samples {
            file.write(&history.push(sample)).expect("a row");
        }
        assert_eq!(
            fs::read_to_string(&path).expect("the file"),
            "at_s,open,opening,dropped,refused,sent,accepted,delivered,opened_per_s,sent_per_s,accepted_per_s,\
             delivered_per_s,latency_count,p50_us,p90_us,p99_us,p999_us,max_us,server_rss_bytes,server_cpu_percent,\
             generator_cpu_percent\n\
             1,900,100,0,0,0,0,0,900,0,0,0,0,,,,,,,,31.25\n\
             2.001,1000,0,2,1,2001,1990,1980,101.949,2000,1989.005,1979.01,1980,850,1200,8100,21000,40123,50331648,\
             47.976,12\n"
        );
    }
}
