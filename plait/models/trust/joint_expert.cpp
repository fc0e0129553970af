#include "plait/models/trust/joint_expert.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {
namespace {

constexpr double kDeaf = -1e4;  ///< Added to the attention to tokens that are not heard
constexpr double kInitialDeviation = 0.02;

}  // namespace

JointExpert::JointExpert(const Shape& shape) : grid_(shape.grid), questions_(shape.questions) {
  const auto streams = static_cast<int64_t>(shape.widths.size());
  hidden_ = add<ModuleList<Linear>>("hidden");
  output_ = add<ModuleList<Linear>>("output");
  for (int64_t width : shape.widths) {
    hidden_->append(width, shape.width);
    output_->append(shape.width, shape.width);
  }
  stream_ = add_parameter("stream", at::zeros({streams, shape.width}));
  answer_ = add_parameter("answer", at::zeros({shape.width}));
  layers_ = add<ModuleList<TransformerLayer>>("layers");
  for (int64_t i = 0; i < kLayers; ++i)
    layers_->append(shape.width, kHeads, 2 * shape.width, /*dropout=*/0.0);
  norm_ = add<LayerNorm>("norm", shape.width);
  head_ = add<Linear>("head", shape.width, grid_ ? 2 * questions_ : questions_ * shape.classes);
  temperature_ = add_buffer("temperature", at::ones({}));
}

void JointExpert::reset_parameters(at::Generator& generator) {
  stream_.normal_(0, kInitialDeviation, generator);
  answer_.normal_(0, kInitialDeviation, generator);
}

at::Tensor JointExpert::tokens(const std::vector<at::Tensor>& features) const {
  require(features.size() == hidden_->size(), "trust", "expected one feature tensor per stream");
  std::vector<at::Tensor> out;
  for (size_t m = 0; m < features.size(); ++m)
    out.push_back((*output_)[m](at::gelu((*hidden_)[m](features[m]))));
  return at::stack(out, 1) + stream_;
}

at::Tensor JointExpert::logits(const at::Tensor& tokens, const at::Tensor& heard) const {
  at::Tensor first = answer_.expand({tokens.size(0), 1, tokens.size(2)});
  at::Tensor deaf = at::where(heard, at::zeros({}), at::full({}, kDeaf));
  at::Tensor bias =
      at::cat({at::zeros({heard.size(0), 1}), deaf}, 1).unsqueeze(1).unsqueeze(1);  // [B, 1, 1, S]
  at::Tensor x = at::cat({first, tokens}, 1);
  // Of the last layer only the answer is read. In training the whole layer is kept: gradients that
  // are summed in another order lead to another expert.
  const size_t whole = training() ? layers_->size() : layers_->size() - 1;
  for (size_t i = 0; i < layers_->size(); ++i)
    x = i < whole ? (*layers_)[i](x, bias) : (*layers_)[i].first(x, bias);
  at::Tensor out = (*head_)((*norm_)(x.select(1, 0)));
  return grid_
             ? grid_->gaussian(out.narrow(1, 0, questions_), out.narrow(1, questions_, questions_))
             : out;
}

double JointExpert::temperature() const { return temperature_.item<double>(); }
void JointExpert::set_temperature(double value) { temperature_.fill_(value); }

}  // namespace plait::models
