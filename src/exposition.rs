//! An exposition is a page of metrics in Prometheus text format 0.0.4.
//!
//! See prometheus.io/docs/instrumenting/exposition_formats.

use std::fmt::Write as _;

/// The content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page being written, one family after the other.
#[derive(Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family; its samples follow. `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a String does not fail, here and below.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One sample. Labels are our own closed sets, so their values need no escaping.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Into<f64>) {
        self.text.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.text, " {}", value.into());
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
        buckets: &[(f64, u64)],
        sum: f64,
        count: u64,
    ) {
        for (bound, below) in buckets {
            let _ = write!(self.text, "{name}_bucket");
            self.labels(labels, Some(&bound.to_string()));
            let _ = writeln!(self.text, " {below}");
        }
        let _ = write!(self.text, "{name}_bucket");
        self.labels(labels, Some("+Inf"));
        let _ = writeln!(self.text, " {count}");
        for (suffix, value) in [("_sum", sum), ("_count", count as f64)] {
            self.text.push_str(name);
            self.text.push_str(suffix);
            self.labels(labels, None);
            let _ = writeln!(self.text, " {value}");
        }
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn labels(&mut self, labels: &[(&str, &str)], bound: Option<&str>) {
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (name, value) in all {
            let _ = write!(self.text, "{separator}{name}=\"{value}\"");
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_the_format_says() {
        let mut page = Exposition::default();
        page.family("a_total", "counter", "Things.");
        page.sample("a_total", &[("path", "/x"), ("status", "200")], 3.0);
        page.family("h", "histogram", "Sizes.");
        page.histogram("h", &[("path", "/x")], &[(2.5, 1)], 7.25, 2);
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
