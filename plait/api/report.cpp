#include "plait/api/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace plait::api {
namespace {

const char* const kStreamColors[] = {"#3b6fd4", "#d97706", "#2f9e6e", "#a855c7",
                                     "#c2415d", "#0e8fa8", "#7a7f2a", "#6b7280"};

const char* const kStyle = R"css(
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #667085; --line: #e3e6ea; --card: #fff; --page: #f6f7f9;
        --good: #2f9e6e; --bad: #c2415d; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #98a1ad; --line: #333a44; --card: #1d2127; --page: #14171b; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 60px; }
h1 { font-size: 28px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 12px; }
.soft, footer { color: var(--soft); } footer { margin-top: 40px; font-size: 13px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 18px 0; padding: 0; }
.facts div, .item, .panel { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.facts div { padding: 10px 14px; } .facts b { display: block; font-size: 20px; }
.panel { padding: 6px 14px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; }
th, td { padding: 7px 8px; border-bottom: 1px solid var(--line); vertical-align: middle; }
tr:last-child td { border-bottom: 0; } td.n { text-align: right; font-variant-numeric: tabular-nums; } th.n { text-align: right; }
.bar { display: flex; height: 14px; width: 100%; min-width: 140px; border-radius: 4px; overflow: hidden; background: var(--line); }
.bar i { display: block; height: 100%; }
.legend span { margin-right: 14px; font-size: 13px; } .legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 5px; }
.charts { display: flex; flex-wrap: wrap; gap: 18px; } .charts figure { margin: 0; padding: 12px 14px; } figcaption { font-size: 13px; color: var(--soft); }
.item { padding: 14px; margin-bottom: 14px; } .item h3 { margin: 0 0 8px; font-size: 16px; }
.item img { width: 74px; height: 74px; object-fit: contain; background: #fff; border-radius: 6px; border: 1px solid var(--line); }
.item audio { width: 150px; height: 30px; } .gone { color: var(--soft); font-style: italic; font-size: 13px; }
.right { color: var(--good); font-weight: 600; } .wrong { color: var(--bad); font-weight: 600; }
.caption { max-width: 210px; font-size: 13px; }
.nats { position: relative; height: 6px; margin-top: 3px; background: linear-gradient(90deg, transparent calc(50% - .5px), var(--soft) 0 calc(50% + .5px), transparent 0); }
.nats i { position: absolute; height: 100%; border-radius: 2px; }
.doubts { color: var(--soft); font-size: 13px; padding-top: 0; } .doubts div::before { content: "⚠ "; }
)css";

std::string escape(const std::string& text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string number(const char* format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

std::string percent(double share) { return number("%.1f %%", 100 * share); }

std::string weight_bar(const std::vector<std::string>& streams,
                       const std::map<std::string, double>& weights) {
  std::string out = "<div class=\"bar\" role=\"img\" title=\"";
  for (const std::string& s : streams) {
    auto it = weights.find(s);
    out += escape(s) + " " + percent(it == weights.end() ? 0 : it->second) + "  ";
  }
  out += "\">";
  for (size_t i = 0; i < streams.size(); ++i) {
    auto it = weights.find(streams[i]);
    if (it == weights.end() || it->second <= 0) continue;
    out += "<i style=\"width:" + number("%.2f", 100 * it->second) +
           "%;background:" + kStreamColors[i % 8] + "\"></i>";
  }
  return out + "</div>";
}

/// One bar per stream, to the right for the answer, to the left against it; half the width is five
/// nats.
std::string contribution_bars(const std::vector<std::string>& streams,
                              const std::map<std::string, double>& contributions) {
  std::string out;
  for (size_t i = 0; i < streams.size(); ++i) {
    auto it = contributions.find(streams[i]);
    if (it == contributions.end()) continue;
    const double width = std::min(std::abs(it->second) / 5, 1.0) * 50;
    out += "<div class=\"nats\" title=\"" + escape(streams[i]) + number(" %+.1f nats", it->second) +
           "\"><i style=\"left:" + number("%.1f", it->second < 0 ? 50 - width : 50) +
           "%;width:" + number("%.1f", width) + "%;background:" + kStreamColors[i % 8] +
           "\"></i></div>";
  }
  return out;
}

/// Confidence against accuracy; the bars' opacity follows the number of items.
std::string reliability_svg(const std::vector<train::ReliabilityBin>& bins,
                            const std::string& caption) {
  constexpr double kSide = 240, kLeft = 34, kTop = 8;
  int64_t most = 1;
  for (const auto& bin : bins) most = std::max(most, bin.count);
  auto x = [&](double v) { return number("%.1f", kLeft + kSide * v); };
  auto y = [&](double v) { return number("%.1f", kTop + kSide * (1 - v)); };
  std::string out =
      "<figure class=\"panel\"><svg width=\"300\" height=\"286\" role=\"img\" font-size=\"11\" "
      "fill=\"currentColor\">";
  for (double v : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    out += "<line x1=\"" + x(0) + "\" x2=\"" + x(1) + "\" y1=\"" + y(v) + "\" y2=\"" + y(v) +
           "\" stroke=\"var(--line)\"/>";
    out += "<text x=\"28\" y=\"" + y(v - 0.015) + "\" text-anchor=\"end\">" + number("%g", v) +
           "</text>";
    out +=
        "<text x=\"" + x(v) + "\" y=\"264\" text-anchor=\"middle\">" + number("%g", v) + "</text>";
  }
  for (const auto& bin : bins) {
    if (bin.count == 0) continue;
    double opacity = 0.3 + 0.7 * static_cast<double>(bin.count) / static_cast<double>(most);
    out += "<rect x=\"" + x(bin.lower + 0.006) + "\" width=\"" +
           number("%.1f", kSide * (bin.upper - bin.lower - 0.012)) + "\" y=\"" + y(bin.accuracy) +
           "\" height=\"" + number("%.1f", kSide * bin.accuracy) +
           "\" fill=\"#3b6fd4\" opacity=\"" + number("%.2f", opacity) + "\"><title>" +
           std::to_string(bin.count) + " items, confidence " + percent(bin.confidence) +
           ", accuracy " + percent(bin.accuracy) + "</title></rect>";
    out += "<circle cx=\"" + x(bin.confidence) + "\" cy=\"" + y(bin.accuracy) + "\" r=\"2.5\"/>";
  }
  out += "<line x1=\"" + x(0) + "\" y1=\"" + y(0) + "\" x2=\"" + x(1) + "\" y2=\"" + y(1) +
         "\" stroke=\"currentColor\" stroke-dasharray=\"4 4\" opacity=\"0.6\"/>";
  out += "<text x=\"" + x(0.5) +
         "\" y=\"281\" text-anchor=\"middle\">confidence</text></svg><figcaption>" +
         escape(caption) + "</figcaption></figure>";
  return out;
}

std::string metric(const ReportCondition& c, const char* name) {
  auto it = c.metrics.find(name);
  return it == c.metrics.end() ? "–" : percent(it->second);
}

std::string condition_table(const Report& report) {
  std::string out =
      "<div class=\"panel\"><table><thead><tr><th>condition</th><th class=\"n\">accuracy</th><th "
      "class=\"n\">ECE</th>"
      "<th style=\"width:38%\">mean weight of each input</th></tr></thead><tbody>";
  for (const ReportCondition& c : report.conditions) {
    out += "<tr><td>" + escape(c.name) + "</td><td class=\"n\">" + metric(c, "accuracy") +
           "</td><td class=\"n\">" + metric(c, "ece") + "</td><td>" +
           weight_bar(report.streams, c.weights) + "</td></tr>";
  }
  return out + "</tbody></table></div>";
}

std::string item_card(const Report& report, const ReportItem& item) {
  std::string out = "<section class=\"item\"><h3>" + escape(item.id) + " <span class=\"soft\">· " +
                    escape(item.truth) +
                    "</span></h3><div style=\"overflow-x:auto\"><table><tbody>";
  for (const ReportRow& row : item.rows) {
    auto or_gone = [](const std::string& shown) {
      return shown.empty() ? std::string("<span class=\"gone\">missing</span>") : shown;
    };
    std::string set;
    for (const std::string& label : row.prediction_set) set += (set.empty() ? "" : ", ") + label;
    out += "<tr><td><b>" + escape(row.condition) + "</b><br><span class=\"soft\">" +
           escape(row.note) + "</span></td><td>" +
           or_gone(row.picture.empty() ? "" : "<img alt=\"picture\" src=\"" + row.picture + "\">") +
           "</td><td class=\"caption\">" + or_gone(escape(row.text)) + "</td><td>" +
           or_gone(row.sound.empty()
                       ? ""
                       : "<audio controls preload=\"none\" src=\"" + row.sound + "\"></audio>") +
           "</td><td title=\"" + escape("90 % set: " + set) + "\"><span class=\"" +
           (row.right ? "right" : "wrong") + "\">" + escape(row.label) +
           "</span><br><span class=\"soft\">" + percent(row.confidence) +
           (row.abstain ? " · abstains" : "") + "</span></td><td style=\"width:170px\">" +
           weight_bar(report.streams, row.weights) +
           contribution_bars(report.streams, row.contributions) + "</td></tr>";
    if (row.doubts.empty()) continue;
    out += "<tr><td colspan=\"6\" class=\"doubts\">";
    for (const std::string& doubt : row.doubts) out += "<div>" + escape(doubt) + "</div>";
    out += "</td></tr>";
  }
  return out + "</tbody></table></div></section>";
}

}  // namespace

std::string data_uri(const std::string& mime_type, const std::string& bytes) {
  static const char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out = "data:" + mime_type + ";base64,";
  out.reserve(out.size() + bytes.size() * 4 / 3 + 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    unsigned v = static_cast<unsigned char>(bytes[i]) << 16;
    if (i + 1 < bytes.size()) v |= static_cast<unsigned char>(bytes[i + 1]) << 8;
    if (i + 2 < bytes.size()) v |= static_cast<unsigned char>(bytes[i + 2]);
    out += kAlphabet[v >> 18];
    out += kAlphabet[v >> 12 & 63];
    out += i + 1 < bytes.size() ? kAlphabet[v >> 6 & 63] : '=';
    out += i + 2 < bytes.size() ? kAlphabet[v & 63] : '=';
  }
  return out;
}

std::string render_html(const Report& report) {
  std::string out =
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\">"
      "<title>" +
      escape(report.title) + "</title><style>" + kStyle + "</style></head><body><main><h1>" +
      escape(report.title) + "</h1><div class=\"facts\">";
  for (const auto& [name, value] : report.facts) {
    out +=
        "<div><span class=\"soft\">" + escape(name) + "</span><b>" + escape(value) + "</b></div>";
  }
  out += "</div><p class=\"legend\">";
  for (size_t i = 0; i < report.streams.size(); ++i) {
    out += std::string("<span><i style=\"background:") + kStreamColors[i % 8] + "\"></i>" +
           escape(report.streams[i]) + "</span>";
  }
  out +=
      "<span class=\"soft\">thick bar: share of the evidence; thin bars: nats for the answer "
      "(right) "
      "or against it (left)</span>";
  out += "</p><h2>Over the whole test split</h2>" + condition_table(report);
  out += "<h2>Can the confidence be believed?</h2><div class=\"charts\">" +
         reliability_svg(report.reliability,
                         "All inputs: accuracy by confidence; on the diagonal is calibrated") +
         reliability_svg(report.reliability_damaged,
                         "One input damaged, all such conditions together") +
         "</div>";
  out += "<h2>Held-out items</h2>";
  for (const ReportItem& item : report.items) out += item_card(report, item);
  return out + "<footer>" + escape(report.footer) + "</footer></main></body></html>\n";
}

}  // namespace plait::api
