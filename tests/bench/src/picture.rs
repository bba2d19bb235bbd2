//! The ratios as bars, in an SVG.

use std::fmt::Write as _;

use crate::report::Result;
use crate::rows::Peer;

const LINE: u32 = 18;
const NAMES: u32 = 330;
/// Pixels of a ratio of one.
const ONE: f64 = 240.0;
/// Longer bars are cut off.
const MOST: f64 = 2.0;

/// All ratios to other proxies; the goal is a mark on the bar.
pub(crate) fn draw(results: &[Result]) -> String {
    let mut bars = String::new();
    let mut y = 60;
    for result in results {
        let ratios = result.ratios();
        if ratios.iter().all(|ratio| ratio.peer == Peer::MutualTls) {
            continue;
        }
        let _ = writeln!(bars, r#"<text x="10" y="{}" class="row">{}</text>"#, y + 13, result.row.what);
        for ratio in ratios {
            let length = ratio.value.min(MOST) * ONE;
            let class = match ratio.goal {
                Some(goal) if ratio.value > goal => "over",
                _ => ratio.peer.name(),
            };
            let _ = writeln!(
                bars,
                r#"<rect x="{NAMES}" y="{y}" width="{length:.0}" height="{}" class="{class}"/>"#,
                LINE - 4
            );
            let _ = writeln!(
                bars,
                r#"<text x="{:.0}" y="{}">{:.2} × {}</text>"#,
                f64::from(NAMES) + length + 5.0,
                y + 12,
                ratio.value,
                ratio.peer.name()
            );
            if let Some(goal) = ratio.goal {
                let x = f64::from(NAMES) + goal * ONE;
                let _ = writeln!(bars, r#"<path d="M{x:.0} {}v{}" class="goal"/>"#, y - 1, LINE - 2);
            }
            y += LINE;
        }
        y += LINE / 2;
    }
    let one = f64::from(NAMES) + ONE;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="940" height="{height}" font-family="sans-serif" font-size="12">
<style>.row{{font-weight:bold}} .haproxy{{fill:#4c78a8}} .nginx{{fill:#72b7b2}} .envoy{{fill:#9d86c9}} .over{{fill:#e45756}} .goal{{stroke:#000;stroke-width:2}}</style>
<rect width="940" height="{height}" fill="#fff"/>
<text x="10" y="24" font-size="16">What Postern costs, as a share of what others cost (shorter is better)</text>
<text x="10" y="42">Medians of one run. A black mark is a goal; a red bar misses it.</text>
<path d="M{one:.0} 50V{height}" stroke="#bbb"/>
{bars}</svg>
"##,
        height = y + 20
    )
}
