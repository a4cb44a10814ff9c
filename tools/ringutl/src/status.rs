//! Owns what is told of a snapshot file, in etcdutl's shapes.
//! Never changes the file. Invariant: what is told was read from a snapshot that is whole.

use std::path::Path;

use node::snapshot::SnapshotItem;

use crate::source::{HashCheck, Source};

/// What a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// CRC-32C of the snapshot.
    pub hash: u32,
    /// Its revision.
    pub revision: i64,
    /// Rows, changes and facts.
    pub keys: u64,
    /// Bytes, without the SHA-256 behind it.
    pub size_bytes: u64,
    /// Version of the storage, empty if the cluster had not agreed on one.
    pub version: String,
}

/// How to print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One line.
    Simple,
    /// One JSON object.
    Json,
    /// One field a line.
    Fields,
    /// A box.
    Table,
}

impl Status {
    /// Reads the whole snapshot.
    pub fn of(path: &Path) -> Result<Status, String> {
        let source = Source::open(path, HashCheck::Skipped)?;
        let (mut keys, mut version) = (0, String::new());
        let header = source.read(|_, item| {
            keys += 1;
            if let SnapshotItem::Meta { key, value } = item
                && key == "c"
            {
                // A format byte stands before the text.
                version = String::from_utf8_lossy(value.get(1..).unwrap_or_default()).into_owned();
            }
            Ok(())
        })?;
        let (hash, size_bytes) = (source.crc()?, source.bytes());
        Ok(Status { hash, revision: header.revision, keys, size_bytes, version })
    }

    /// The text to print.
    pub fn text(&self, shape: Shape) -> String {
        let Status { hash, revision, keys, size_bytes, version } = self;
        match shape {
            Shape::Simple => self.cells().join(", "),
            Shape::Json => serde_json::json!({
                "hash": hash,
                "revision": revision,
                "totalKey": keys,
                "totalSize": size_bytes,
                "version": version,
            })
            .to_string(),
            Shape::Fields => format!(
                "\"Hash\" : {hash}\n\"Revision\" : {revision}\n\"Keys\" : {keys}\n\
                 \"Size\" : {size_bytes}\n\"Version\" : {version:?}"
            ),
            Shape::Table => table(
                &["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "STORAGE VERSION"],
                &self.cells(),
            ),
        }
    }

    fn cells(&self) -> [String; 5] {
        [
            format!("{:x}", self.hash),
            self.revision.to_string(),
            self.keys.to_string(),
            decimal_size(self.size_bytes),
            self.version.clone(),
        ]
    }
}

fn table(heads: &[&str; 5], cells: &[String; 5]) -> String {
    let widths: Vec<usize> =
        heads.iter().zip(cells).map(|(head, cell)| head.len().max(cell.len()) + 2).collect();
    let rule = |left: &str, middle: &str, right: &str| {
        let parts: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        format!("{left}{}{right}", parts.join(middle))
    };
    let pairs = || widths.iter().copied();
    let top: Vec<String> =
        heads.iter().zip(pairs()).map(|(head, width)| format!("{head:^width$}")).collect();
    let row: Vec<String> = cells
        .iter()
        .zip(pairs())
        .map(|(cell, width)| format!("{cell:>width$} ", width = width - 1))
        .collect();
    [
        rule("┌", "┬", "┐"),
        format!("│{}│", top.join("│")),
        rule("├", "┼", "┤"),
        format!("│{}│", row.join("│")),
        rule("└", "┴", "┘"),
    ]
    .join("\n")
}

/// `25 kB`, `6.0 MB`: decimal units, one digit after the point below ten.
fn decimal_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    match (size * 10.0 + 0.5).floor() / 10.0 {
        small if small < 10.0 => format!("{small:.1} {}", UNITS[unit]),
        large => format!("{large:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Status {
        Status {
            hash: 0xc26d_8272,
            revision: 31,
            keys: 46,
            size_bytes: 24_576,
            version: "3.7.0".to_owned(),
        }
    }

    #[test]
    fn the_shapes_are_those_that_scripts_read() {
        assert_eq!(sample().text(Shape::Simple), "c26d8272, 31, 46, 25 kB, 3.7.0");
        let json = concat!(
            r#"{"hash":3261956722,"revision":31,"totalKey":46,"#,
            r#""totalSize":24576,"version":"3.7.0"}"#
        );
        assert_eq!(sample().text(Shape::Json), json);
        assert!(sample().text(Shape::Fields).starts_with("\"Hash\" : 3261956722\n"));
        let table = sample().text(Shape::Table);
        let widths: Vec<usize> = table.lines().map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
    }

    #[test]
    fn sizes_are_decimal() {
        let table = [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9_949, "9.9 kB"),
            (24_576, "25 kB"),
            (6_000_000, "6.0 MB"),
        ];
        for (bytes, expected) in table {
            assert_eq!(decimal_size(bytes), expected);
        }
    }
}
