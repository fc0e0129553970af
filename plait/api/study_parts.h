#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "plait/api/fusion_study.h"
#include "plait/core/sample.h"
#include "plait/data/datasets/datasets.h"

/// What the data sets of the fusion studies are put together from.
namespace plait::api {

/// One strength at which a kind of damage is shown in the test.
struct StudyLevel {
  std::string name;  ///< Ends the condition's name: "image/gaussian_blur_0.5".
  double severity = 0;
  bool hit = true;  ///< An oracle counts the stream as damaged.
};

/// One way in which a stream goes wrong.
struct StudyDamage {
  std::string name;  ///< The condition is "<stream>/<name>_<level>".
  /// A damaged copy; thread-safe, deterministic in the seed.
  std::function<Value(const Value& value, double severity, uint64_t seed)> apply;
  bool seen = true;  ///< Copies of the training items are damaged so too, at any severity in
                     ///< [min_severity, max_severity].
  bool from_source = false;  ///< Starts from StudyItems::sources.
  std::vector<StudyLevel> levels = {{"0.5", 0.5}, {"1", 1.0}};
  double min_severity = 0.1, max_severity = 1;
};

/// data::damage's kinds for a modality; those of `held_out` are not seen in training.
/// @throws Error kInvalidArgument when `held_out` names a kind that there is not.
std::vector<StudyDamage> usual_damage(Modality modality, const std::vector<std::string>& held_out);

struct StudyStream {
  std::string name;
  Modality modality = Modality::kTable;
  std::vector<StudyDamage> damage;
  /// Decoded values of many items → [N, D] float32, finite. Called from one thread at a time.
  std::function<at::Tensor(const std::vector<Value>& values)> encode;
  /// Their quality [N]; empty: models::assess of each.
  std::function<at::Tensor(const std::vector<Value>& values)> judge = {};
  /// Above 0: features are reduced by a PCA fitted on the clean training items, to at most so many
  /// components, and to no more than hold `energy` of their variance.
  int64_t components = 0;
  double energy = 1;
};

/// Decoded values of N items, every stream there. Values may stand for others that `encode` and
/// `judge` look up, if every damage of the stream takes them.
struct StudyItems {
  std::vector<std::vector<Value>> values;        ///< [M][N], as they usually come.
  std::vector<std::vector<Value>> sources = {};  ///< The same before the usual noise; empty: values
  at::Tensor target;                             ///< [N] int64
  /// What befalls an item follows from its id; empty: its place.
  std::vector<std::string> ids = {};
  std::vector<std::string> groups = {};  ///< As TrustData::group; empty: every item is its own
};

/// Items that are shown as they are, beside the test.
struct StudyOthers {
  std::string name;
  StudyItems items;
};

struct StudyPlan {
  std::string dataset, licence, note;
  int64_t classes = 0;
  std::vector<StudyStream> streams;
  StudyItems train, test;
  std::vector<StudyOthers> others = {};
  int64_t copies = 3;  ///< Damaged variants of the training items.
  double mild = 0.25;  ///< Severity of the damage of every stream at once.
  uint64_t seed = 0;
  /// Of damage instead of `seed`: with ids the same in every split, so that it is encoded once.
  std::optional<uint64_t> damage_seed = {};
};

/// Damages, judges (models::assess, on the value) and encodes the items.
/// Training: variant 0 clean, `copies` further ones where every item and stream has a seen kind of
/// damage of drawn severity. Conditions, in this order:
///   clean;
///   <stream>/<damage>_<level> for every stream, kind and level: all items;
///   <stream>/wrong: another item's value, of another class (not encoded again);
///   <stream>/missing;
///   mild: a drawn seen kind at severity `mild` on every stream; an oracle calls none of them
///   damaged, since it has to answer from something;
///   mixed/seen, mixed/unseen: half of the items clean, of the others one drawn stream has a drawn
///   one of the conditions above (those an oracle counts as damage);
///   every one of `others`: no stream is damaged, but training has seen nothing like it.
/// Deterministic in the seed.
/// @throws Error kInvalidArgument for a plan whose parts do not match or an encoder's output that
/// is not finite [N, D].
StudyData build_study(const StudyPlan& plan, const StudyProgress& progress = {});

/// Streams as they are in the samples (in the order of the data set's), targets and ids.
/// @throws Error kInvalidArgument for a sample without one of the streams or its label.
StudyItems study_items(const std::vector<Sample>& samples, const data::DatasetSplits& splits);

/// encode of StudyStream from a thread-safe function of one value → [D], run in parallel.
std::function<at::Tensor(const std::vector<Value>& values)> encode_each(
    std::function<at::Tensor(const Value& value)> one);

/// A condition where every stream of `from` (names of conditions of `data`, each damaging another
/// stream) is damaged at once. @throws Error kInvalidArgument for an unknown one.
StudyCondition both(const StudyData& data, const std::string& name,
                    const std::vector<std::string>& from);

/// x ↦ (x − mean) · axes.
struct Projection {
  at::Tensor mean;  ///< [D]
  at::Tensor axes;  ///< [D, K], orthonormal columns
  at::Tensor operator()(const at::Tensor& x) const;
};

/// The principal components of x [N, D]: at most `components`, and the fewest that hold `energy` of
/// the variance.
Projection fit_projection(const at::Tensor& x, int64_t components, double energy = 1);

/// A seed for each (seed, purpose, item): what is drawn for one does not depend on the others.
uint64_t study_seed(uint64_t seed, const std::string& purpose, int64_t item = 0);

}  // namespace plait::api
