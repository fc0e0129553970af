#include <ATen/ATen.h>

#include "plait/data/processor.h"
#include "plait/models/fusion/functional.h"
#include "plait/models/quality/quality.h"
#include "plait/models/registry.h"
#include "python/bindings/common.h"

namespace plait::python {
namespace {

using models::Model;

py::dict parameters_of(const Model& model) {
  py::dict out;
  for (const auto& [name, tensor] : model.named_parameters()) out[py::str(name)] = tensor;
  return out;
}

py::dict buffers_of(const Model& model) {
  py::dict out;
  for (const auto& [name, tensor] : model.named_buffers()) out[py::str(name)] = tensor;
  return out;
}

py::object quality_of(const py::object& value, const std::string& modality) {
  Modality kind = modality_from_string(modality);
  Value given = to_value(value, kind, modality);
  models::Quality q;
  {
    py::gil_scoped_release release;
    q = models::assess(data::decode(given, kind, modality), kind);
  }
  py::dict parts;
  for (const auto& [name, part] : q.parts) parts[py::str(name)] = part;
  return py::make_tuple(q.score, parts);
}

}  // namespace

void bind_models(py::module_& m) {
  py::class_<Model, std::shared_ptr<Model>>(m, "Model", "A registered module behind named tensors")
      .def("forward",
           [](Model& self, const py::dict& inputs) {
             TensorMap in = to_tensors(inputs), out;
             {
               py::gil_scoped_release release;
               out = self.forward(in);
             }
             return from_tensors(out);
           })
      .def("config", [](const Model& self) { return from_json(self.config()); })
      .def("parameters", &parameters_of)
      .def("buffers", &buffers_of)
      .def("train", [](Model& self, bool on) { self.train(on); })
      .def("initialize", &Model::initialize, py::call_guard<py::gil_scoped_release>())
      .def("load_state_dict",
           [](Model& self, const py::dict& weights) { self.load_state_dict(to_tensors(weights)); });
  m.def("create_model",
        [](const py::dict& config) { return models::create(to_json(config), "config"); });
  m.def("registry", [] {
    py::list out;
    for (const std::string& name : models::registry().names()) {
      const auto& entry = models::registry().at(name);
      py::dict row;
      row["name"] = name;
      row["kind"] = entry.kind;
      row["options"] = from_json(entry.schema);
      row["tiny"] = from_json(entry.tiny);
      out.append(row);
    }
    return out;
  });
  m.def("assess_quality", &quality_of);

  // Undefined tensors are None in Python.
  using Optional = std::optional<at::Tensor>;
  m.def(
      "dynamic_modality_weighting",
      [](const at::Tensor& features, const at::Tensor& quality, const Optional& present,
         const Optional& temperature, const Optional& bias) {
        models::Fused out = models::dynamic_modality_weighting(
            features, quality, present.value_or(at::Tensor()), temperature.value_or(at::Tensor()),
            bias.value_or(at::Tensor()));
        return std::make_pair(out.fused, out.weights);
      },
      py::arg("features"), py::arg("quality"), py::arg("present") = py::none(),
      py::arg("temperature") = py::none(), py::arg("bias") = py::none(),
      py::call_guard<py::gil_scoped_release>());
  m.def(
      "dynamic_routing_gate",
      [](const at::Tensor& features, const at::Tensor& scores, const Optional& present) {
        models::Fused out =
            models::dynamic_routing_gate(features, scores, present.value_or(at::Tensor()));
        return std::make_pair(out.fused, out.weights);
      },
      py::arg("features"), py::arg("scores"), py::arg("present") = py::none(),
      py::call_guard<py::gil_scoped_release>());
  m.def(
      "modality_importance",
      [](const at::Tensor& scores, const Optional& present) {
        return models::modality_importance(scores, present.value_or(at::Tensor()));
      },
      py::arg("scores"), py::arg("present") = py::none(), py::call_guard<py::gil_scoped_release>());
  m.def(
      "modality_aware_attention",
      [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
         const at::Tensor& query_stream, const at::Tensor& key_stream, const at::Tensor& beta,
         const Optional& reliability, const Optional& key_mask, int64_t heads) {
        return models::modality_aware_attention(q, k, v, query_stream, key_stream, beta,
                                                reliability.value_or(at::Tensor()),
                                                key_mask.value_or(at::Tensor()), heads);
      },
      py::arg("q"), py::arg("k"), py::arg("v"), py::arg("query_stream"), py::arg("key_stream"),
      py::arg("beta"), py::arg("reliability") = py::none(), py::arg("key_mask") = py::none(),
      py::arg("heads") = 1, py::call_guard<py::gil_scoped_release>());
}

}  // namespace plait::python
