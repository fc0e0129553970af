#include "plait/runtime/transcribe/window_decoder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "plait/core/error.h"
#include "plait/data/deflate.h"
#include "plait/models/decoders/kv_cache.h"

namespace plait::runtime {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr double kSecondsPerTime = 0.02;

/// A text that is being written.
struct Row {
  std::vector<int64_t> sampled;
  double logprob = 0;
};

at::Tensor column_of(const std::vector<int64_t>& ids) {
  return at::tensor(ids, at::kLong).unsqueeze(1);
}

/// Without the end and what follows it.
std::vector<int64_t> cut(const std::vector<int64_t>& ids, int64_t end) {
  return {ids.begin(), std::find(ids.begin(), ids.end(), end)};
}

}  // namespace

/// What the model reads before it writes.
struct WindowDecoder::Prefix {
  std::vector<int64_t> ids;
  int64_t start_index = 0;
};

struct WindowDecoder::Search {
  const models::CrossKeys& sound;
  models::KvCache cache;
  at::Tensor hidden;  ///< Of the last token of every row [R, D]
  std::vector<Row> rows, finished;
  int64_t prefix_length = 0;
};

WindowDecoder::WindowDecoder(const models::WhisperDecoder& model, const WhisperTokens& tokens,
                             const TranscribeOptions& options)
    : model_(model),
      tokens_(tokens),
      options_(options),
      suppressed_(tokens.special),
      longest_sample_(model.max_length() / 2) {
  if (options.suppress_non_speech)
    suppressed_.insert(suppressed_.end(), tokens.non_speech.begin(), tokens.non_speech.end());
}

std::pair<std::string, double> WindowDecoder::detect_language(
    const models::CrossKeys& sound) const {
  if (!tokens_.multilingual) return {"en", 1};
  models::KvCache cache = model_.make_cache(1, 1);
  at::Tensor hidden = model_.step(
      at::tensor({tokens_.start}, at::kLong).unsqueeze(0).to(model_.device()), sound, cache);
  at::Tensor scores = model_.word_logits(hidden[0][0]).to(at::kFloat).cpu();
  std::vector<int64_t> ids;
  for (const auto& [code, id] : tokens_.languages) ids.push_back(id);
  at::Tensor share = at::softmax(scores.index_select(0, at::tensor(ids, at::kLong)), 0);
  const int64_t best = share.argmax().item<int64_t>();
  return {tokens_.languages[static_cast<size_t>(best)].first, share[best].item<double>()};
}

/// Rules of what may follow `sampled`; forbidden scores become minus infinity.
void WindowDecoder::apply_rules(float* scores, const std::vector<int64_t>& sampled) const {
  const int64_t words = tokens_.vocab_size(), first = tokens_.first_time;
  auto forbid = [&](int64_t from, int64_t to) {
    if (from < to) std::fill(scores + from, scores + std::min(to, words), kNever);
  };
  if (sampled.empty() && options_.suppress_blank) {
    for (int64_t id : tokens_.blank) scores[id] = kNever;
  }
  for (int64_t id : suppressed_) scores[id] = kNever;
  scores[tokens_.no_timestamps] = kNever;

  // Times come in pairs, but for the one before the end.
  const size_t n = sampled.size();
  const bool last_is_time = n >= 1 && sampled[n - 1] >= first;
  const bool before_is_time = n < 2 || sampled[n - 2] >= first;
  if (last_is_time) {
    if (before_is_time) {
      forbid(first, words);
    } else {
      forbid(0, tokens_.end);
    }
  }
  // Times do not go back, and a segment lasts longer than nothing.
  auto last =
      std::find_if(sampled.rbegin(), sampled.rend(), [&](int64_t id) { return id >= first; });
  if (last != sampled.rend()) forbid(first, last_is_time && !before_is_time ? *last : *last + 1);
  if (sampled.empty()) {
    forbid(0, first);
    if (options_.max_initial_timestamp > 0) {
      const auto latest =
          static_cast<int64_t>(std::lround(options_.max_initial_timestamp / kSecondsPerTime));
      forbid(first + latest + 1, words);
    }
  }
  // If a time, whichever, is more probable than any word, it is a time.
  const float word = *std::max_element(scores, scores + first);
  const float time = *std::max_element(scores + first, scores + words);
  if (time == kNever) return;
  double sum = 0;
  for (int64_t id = first; id < words; ++id)
    sum += std::exp(static_cast<double>(scores[id] - time));
  if (std::log(sum) + time > word) forbid(0, first);
}

/// Log-probabilities of the next token of every row after the rules, [R, vocabulary] on the CPU.
at::Tensor WindowDecoder::next_scores(Search& search) const {
  at::Tensor scores = model_.word_logits(search.hidden).to(at::kFloat).cpu().contiguous();
  for (size_t r = 0; r < search.rows.size(); ++r) {
    apply_rules(scores.mutable_data_ptr<float>() + static_cast<int64_t>(r) * scores.size(1),
                search.rows[r].sampled);
  }
  return scores;
}

void WindowDecoder::sample_rows(Search& search, double temperature,
                                at::Generator& generator) const {
  for (int64_t i = 0; i < longest_sample_ && !cancelled(); ++i) {
    at::Tensor scores = next_scores(search);
    at::Tensor chosen = temperature > 0 ? at::multinomial(at::softmax(scores / temperature, 1), 1,
                                                          /*replacement=*/false, generator)
                                              .squeeze(1)
                                        : scores.argmax(1);
    at::Tensor logprobs =
        scores.gather(1, chosen.unsqueeze(1)).squeeze(1) - at::logsumexp(scores, {1});
    std::vector<int64_t> next;
    bool done = true;
    for (size_t r = 0; r < search.rows.size(); ++r) {
      Row& row = search.rows[r];
      const bool ended = !row.sampled.empty() && row.sampled.back() == tokens_.end;
      const int64_t id = ended ? tokens_.end : chosen[static_cast<int64_t>(r)].item<int64_t>();
      if (!ended) row.logprob += logprobs[static_cast<int64_t>(r)].item<double>();
      row.sampled.push_back(id);
      next.push_back(id);
      done = done && id == tokens_.end;
    }
    const auto length = search.prefix_length + static_cast<int64_t>(search.rows[0].sampled.size());
    if (done || length > model_.max_length() || i + 1 == longest_sample_) break;
    if (search.cache.length() + 1 > model_.max_length()) break;
    search.hidden =
        model_.step(column_of(next).to(model_.device()), search.sound, search.cache).select(1, 0);
  }
  search.finished = search.rows;
}

void WindowDecoder::search_beams(Search& search) const {
  const int64_t beams = options_.beam_size;
  const auto wanted = static_cast<size_t>(
      std::max<int64_t>(std::lround(static_cast<double>(beams) * options_.patience), 1));
  struct Candidate {
    size_t row;
    int64_t id;
    double logprob;
  };
  for (int64_t i = 0; i < longest_sample_ && !cancelled(); ++i) {
    at::Tensor logprobs = at::log_softmax(next_scores(search), 1);
    auto [best, ids] = logprobs.topk(std::min<int64_t>(beams + 1, logprobs.size(1)), 1);
    std::vector<Candidate> candidates;
    for (size_t r = 0; r < search.rows.size(); ++r) {
      const auto row = static_cast<int64_t>(r);
      for (int64_t k = 0; k < best.size(1); ++k) {
        candidates.push_back(
            {r, ids[row][k].item<int64_t>(), search.rows[r].logprob + best[row][k].item<double>()});
      }
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.logprob > b.logprob; });
    std::vector<Row> rows;
    std::vector<int64_t> next, sources;
    for (const Candidate& c : candidates) {
      Row row = search.rows[c.row];
      row.sampled.push_back(c.id);
      row.logprob = c.logprob;
      if (c.id == tokens_.end) {
        if (search.finished.size() < wanted) search.finished.push_back(std::move(row));
        continue;
      }
      rows.push_back(std::move(row));
      next.push_back(c.id);
      sources.push_back(static_cast<int64_t>(c.row));
      if (static_cast<int64_t>(rows.size()) == beams) break;
    }
    search.rows = std::move(rows);
    if (search.finished.size() >= wanted || search.rows.empty()) break;
    const auto length = search.prefix_length + static_cast<int64_t>(search.rows[0].sampled.size());
    if (length > model_.max_length() || i + 1 == longest_sample_) break;
    if (search.cache.length() + 1 > model_.max_length()) break;
    std::vector<int64_t> same(static_cast<size_t>(search.cache.batch()));
    std::iota(same.begin(), same.end(), 0);
    if (sources != same) search.cache.select(at::tensor(sources, at::kLong).to(model_.device()));
    search.hidden =
        model_.step(column_of(next).to(model_.device()), search.sound, search.cache).select(1, 0);
  }
  std::stable_sort(search.rows.begin(), search.rows.end(),
                   [](const Row& a, const Row& b) { return a.logprob > b.logprob; });
  for (Row& row : search.rows) {
    if (static_cast<int64_t>(search.finished.size()) >= beams) break;
    search.finished.push_back(std::move(row));
  }
}

WindowText WindowDecoder::attempt(const Prefix& prefix, const models::CrossKeys& sound,
                                  double temperature, at::Generator& generator) const {
  const auto length = static_cast<int64_t>(prefix.ids.size());
  Search search{sound, model_.make_cache(1, length + longest_sample_), {}, {Row{}}, {}, length};
  at::Tensor ids = at::tensor(prefix.ids, at::kLong).unsqueeze(0).to(model_.device());
  at::Tensor hidden = model_.step(ids, sound, search.cache)[0];
  WindowText out;
  out.temperature = temperature;
  at::Tensor at_start = model_.word_logits(hidden[prefix.start_index]).to(at::kFloat);
  out.no_speech = at::softmax(at_start, 0)[tokens_.no_speech].item<double>();
  search.hidden = hidden.narrow(0, length - 1, 1);
  if (temperature == 0 && options_.beam_size > 1) {
    search_beams(search);
  } else {
    const int64_t rows = temperature > 0 ? options_.best_of : 1;
    if (rows > 1) {
      search.cache.select(at::zeros({rows}, at::kLong).to(model_.device()));
      search.hidden = search.hidden.expand({rows, -1});
      search.rows.resize(static_cast<size_t>(rows));
    }
    sample_rows(search, temperature, generator);
  }
  double best = kNever;
  for (const Row& row : search.finished) {
    std::vector<int64_t> tokens = cut(row.sampled, tokens_.end);
    const auto size = static_cast<double>(std::max<size_t>(tokens.size(), 1));
    const double penalty =
        options_.length_penalty < 0 ? size : std::pow((5 + size) / 6, options_.length_penalty);
    if (row.logprob / penalty <= best) continue;
    best = row.logprob / penalty;
    out.mean_logprob = row.logprob / static_cast<double>(tokens.size() + 1);
    out.tokens = std::move(tokens);
  }
  const std::string text = tokens_.decode(out.tokens);
  const size_t from = std::min(text.find_first_not_of(' '), text.size());
  out.compression_ratio = data::compression_ratio(std::string_view(text).substr(from));
  return out;
}

WindowText WindowDecoder::decode(const models::CrossKeys& sound,
                                 const std::vector<int64_t>& previous, const std::string& language,
                                 at::Generator& generator) const {
  Prefix prefix;
  if (!previous.empty()) {
    prefix.ids.push_back(tokens_.previous);
    const auto room = static_cast<size_t>(model_.max_length() / 2 - 1);
    const size_t skip = previous.size() > room ? previous.size() - room : 0;
    prefix.ids.insert(prefix.ids.end(), previous.begin() + static_cast<int64_t>(skip),
                      previous.end());
  }
  prefix.start_index = static_cast<int64_t>(prefix.ids.size());
  for (int64_t id : tokens_.prompt(language, options_.task)) prefix.ids.push_back(id);
  WindowText out;
  for (double temperature : options_.temperatures) {
    out = attempt(prefix, sound, temperature, generator);
    const bool improbable = out.mean_logprob < options_.logprob_threshold;
    const bool repeats = out.compression_ratio > options_.compression_ratio_threshold;
    const bool silent = improbable && out.no_speech > options_.no_speech_threshold;
    if (silent || !(improbable || repeats) || cancelled()) break;
  }
  return out;
}

}  // namespace plait::runtime
