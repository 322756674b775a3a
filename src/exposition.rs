//! An exposition is a page of metrics in Prometheus text format 0.0.4.
//!
//! See prometheus.io/docs/instrumenting/exposition_formats.

use std::fmt::Write as _;

/// The content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// More than a page takes on which every route was asked: it is written into one piece of memory.
const PAGE_BYTES: usize = 48 << 10;

/// A page being written, one family after the other.
pub struct Exposition {
    text: String,
}

impl Exposition {
    pub fn new() -> Self {
        Self { text: String::with_capacity(PAGE_BYTES) }
    }

    /// Begins a family; its samples follow. `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.push(&["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"]);
    }

    /// One sample. Labels are our own closed sets, so their values need no escaping.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Into<f64>) {
        self.labelled(&[name], labels, value.into());
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Into<f64>) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The samples of one histogram: `buckets` are upper bounds and cumulative counts without +Inf.
    pub fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        buckets: &[(&str, u64)],
        sum: f64,
        count: u64,
    ) {
        let mut with_bound = [labels, &[("le", "")]].concat();
        for (bound, below) in buckets.iter().chain(&[("+Inf", count)]) {
            if let Some((_, shown)) = with_bound.last_mut() {
                *shown = bound;
            }
            self.labelled(&[name, "_bucket"], &with_bound, *below as f64);
        }
        self.labelled(&[name, "_sum"], labels, sum);
        self.labelled(&[name, "_count"], labels, count as f64);
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn labelled(&mut self, name: &[&str], labels: &[(&str, &str)], value: f64) {
        self.push(name);
        let mut separator = "{";
        for (name, value) in labels {
            self.push(&[separator, name, "=\"", value, "\""]);
            separator = ",";
        }
        self.push(&[if labels.is_empty() { " " } else { "} " }]);
        // Most are counts: a whole number is written several times as fast as one that may have a fraction, and
        // reads the same. Writing into a String does not fail.
        let _ = match value as i64 {
            whole if whole as f64 == value => writeln!(self.text, "{whole}"),
            _ => writeln!(self.text, "{value}"),
        };
    }

    fn push(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.text.push_str(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_the_format_says() {
        let mut page = Exposition::new();
        page.family("a_total", "counter", "Things.");
        page.sample("a_total", &[("path", "/x"), ("status", "200")], 3.0);
        page.family("h", "histogram", "Sizes.");
        page.histogram("h", &[("path", "/x")], &[("2.5", 1)], 7.25, 2);
        page.single("g", "gauge", "One.", 0.5);
        let expected = "\
# HELP a_total Things.
# TYPE a_total counter
a_total{path=\"/x\",status=\"200\"} 3
# HELP h Sizes.
# TYPE h histogram
h_bucket{path=\"/x\",le=\"2.5\"} 1
h_bucket{path=\"/x\",le=\"+Inf\"} 2
h_sum{path=\"/x\"} 7.25
h_count{path=\"/x\"} 2
# HELP g One.
# TYPE g gauge
g 0.5
";
        assert_eq!(page.into_text(), expected);
    }
}
