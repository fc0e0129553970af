// What somebody writes down after a round.
#include <cctype>
#include <initializer_list>
#include <utility>

#include "plait/data/simulate/bearing_parts.h"

namespace plait::data {
namespace {

using Phrases = std::vector<const char*>;

const char* pick(const Phrases& phrases, DamageRandom& random) {
  return phrases[static_cast<size_t>(random.below(static_cast<int64_t>(phrases.size())))];
}

/// What can be heard or seen of a state.
const Phrases& signs(BearingState state) {
  static const std::array<Phrases, kBearingStates> kSigns{{
      {"runs quietly, nothing to report", "no unusual noise at the bearing",
       "turns freely by hand, smooth all round", "vibration trend flat since the last round",
       "sounds as after the overhaul", "temperature and noise normal",
       "listened with the rod, even running", "no play, no knocking"},
      {"knocking in step with the shaft", "clicks that swell once per revolution",
       "rattle that comes and goes with every turn",
       "noise follows the shaft when it is turned by hand",
       "beats faster than the ticking we had on the other side",
       "rough spot that travels with the shaft", "warm at the shaft, cooler outside",
       "short bursts of clatter once a turn"},
      {"steady ticking from below", "even hammering, always as loud",
       "regular tapping at the lower half of the housing",
       "warm spot under the bearing near the foot", "rod picks up the beat best at the bottom",
       "same tap tap tap whatever the shaft position", "housing hot at the bottom only",
       "constant pecking noise, loudest below"},
      {"rumble that grows and fades slowly", "clicks in pairs with a slow swell",
       "grinding that returns every two or three turns", "uneven rolling, slow beat",
       "growl that wanders, hard to place", "noise comes and goes slower than the shaft",
       "rolling element feels rough when turned by hand", "double knocks, then calm again"},
      {"squeals, went away after greasing for a while", "grease dark and dry",
       "hissing all the time and hot all round", "grease line blocked",
       "whole housing too hot to touch", "dry whistling sound", "no fresh grease at the seal",
       "rustling noise, smells of burnt grease"},
  }};
  return kSigns[static_cast<size_t>(state)];
}

const Phrases kVague = {
    "a little louder than last week",   "noise at the drive end",
    "bearing should be watched",        "vibration reading went up",
    "operator reports a strange sound", "warmer than usual",
    "check again in two weeks",         "something is not right at the bearing"};

/// Nothing about the bearing's state, though some name its parts.
const Phrases kSilent = {"guard repainted",
                         "belt of the fan tightened",
                         "coupling bolts checked",
                         "hour meter read and noted",
                         "floor cleaned around the machine",
                         "motor of line two exchanged",
                         "oil of the gearbox topped up",
                         "outer ring of the spare measured in the store",
                         "new inner ring ordered for line one",
                         "grease gun returned to the workshop",
                         "cable tray fixed",
                         "filter of the pump changed",
                         "ball valve at the cooler leaks",
                         "sensor cable fastened"};

const Phrases kOpenings = {"round done", "night shift",   "weekly check", "after restart",
                           "line 3",     "morning round", "pump room",    "before the stop"};

std::string mistype(const std::string& text, double rate, DamageRandom& random) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool letter = std::isalpha(static_cast<unsigned char>(text[i])) != 0;
    if (!letter || random.uniform() >= rate) {
      out += text[i];
    } else if (random.uniform() < 0.5 && i + 1 < text.size()) {
      out += text[i + 1];
      out += text[i];
      ++i;
    }
  }
  return out;
}

}  // namespace

std::string simulate_log(const BearingConfig& config, const BearingItem& item,
                         DamageRandom& random) {
  std::vector<std::string> sentences;
  if (random.uniform() < 0.4) sentences.push_back(pick(kOpenings, random));
  const double kind = random.uniform();
  if (kind < config.silent_notes) {
    sentences.push_back(pick(kSilent, random));
    if (random.uniform() < 0.4) sentences.push_back(pick(kSilent, random));
  } else {
    BearingState state = item.state;
    if (kind < config.silent_notes + config.misleading_notes)
      state = static_cast<BearingState>(
          (static_cast<int64_t>(state) + 1 + random.below(kBearingStates - 1)) % kBearingStates);
    // A small defect is seldom described.
    const bool described =
        state == BearingState::kHealthy || random.uniform() < 0.4 + 0.6 * item.defect;
    sentences.push_back(described ? pick(signs(state), random) : pick(kVague, random));
    if (random.uniform() < 0.3)
      sentences.push_back(random.uniform() < 0.5 ? pick(kSilent, random)
                                                 : pick(signs(state), random));
  }
  std::string out;
  for (std::string& sentence : sentences) {
    sentence[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(sentence[0])));
    out += (out.empty() ? "" : " ") + sentence + ".";
  }
  return mistype(out, config.typing_errors, random);
}

}  // namespace plait::data
