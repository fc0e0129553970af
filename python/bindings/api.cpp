#include <ATen/ATen.h>

#include "plait/api/auto_model.h"
#include "plait/api/multimodal_model.h"
#include "plait/api/recipe.h"
#include "plait/api/size_encoders.h"
#include "plait/core/error.h"
#include "plait/runtime/feature_cache.h"
#include "python/bindings/calls.h"

namespace plait::python {
namespace {

using api::AutoModel;
using api::Feature;
using api::MultimodalModel;
using runtime::FeatureCache;

api::ModelOptions model_options(const py::dict& given) {
  api::ModelOptions out;
  Json json = to_json(given);
  out.backend = json.get("backend", out.backend);
  out.dtype = json.get("dtype", out.dtype);
  out.model_size = json.get("model_size", out.model_size);
  out.task = json.get("task", out.task);
  out.max_batch_size = json.get("max_batch_size", out.max_batch_size);
  out.untrained = json.get("untrained", out.untrained);
  return out;
}

api::PredictOptions predict_options(const py::dict& given) {
  api::PredictOptions out;
  py::dict plain;
  for (auto [key, value] : given) {
    if (py::str(key).cast<std::string>() != "gallery")
      plain[key] = value;
    else if (!value.is_none())
      out.gallery = value.cast<at::Tensor>().detach().to(at::kCPU, at::kFloat);
  }
  Json json = to_json(plain);
  out.task = json.get("task", out.task);
  out.coverage = json.get("coverage", out.coverage);
  out.class_conditional = json.get("class_conditional", out.class_conditional);
  out.risk = json.get("risk", out.risk);
  out.explain = json.get("explain", out.explain);
  out.early_exit = json.get("early_exit", out.early_exit);
  out.early_exit_loss = json.get("early_exit_loss", out.early_exit_loss);
  out.max_multiply_adds = json.get("max_multiply_adds", out.max_multiply_adds);
  out.max_latency_ms = json.get("max_latency_ms", out.max_latency_ms);
  if (const Json* labels = json.find("labels"); labels && !labels->is_null())
    out.labels = labels->as_strings();
  if (const Json* names = json.find("gallery_names"); names && !names->is_null())
    out.gallery_names = names->as_strings();
  return out;
}

template <class F>
auto released(F f) {
  py::gil_scoped_release release;
  return f();
}

Sample to_sample(const MultimodalModel& model, const py::dict& streams) {
  Sample out;
  for (auto [key, value] : streams) {
    if (value.is_none()) continue;
    std::string name = py::str(key).cast<std::string>();
    model.processor(name);
    out.streams[name] = to_value(value, model.network().modality(name), name);
  }
  return out;
}

/// {"id", "streams", "labels"}; streams that the model lacks are left out.
std::vector<Sample> to_samples(const MultimodalModel& model, const py::list& rows) {
  std::vector<Sample> out;
  const auto& names = model.network().stream_names();
  for (auto item : rows) {
    py::dict row = item.cast<py::dict>();
    py::dict known;
    for (auto [key, value] : row["streams"].cast<py::dict>()) {
      if (std::find(names.begin(), names.end(), py::str(key).cast<std::string>()) != names.end())
        known[key] = value;
    }
    Sample sample = to_sample(model, known);
    if (row.contains("id")) sample.id = py::str(row["id"]).cast<std::string>();
    if (row.contains("labels")) {
      for (auto [task, label] : row["labels"].cast<py::dict>())
        sample.labels[py::str(task).cast<std::string>()] = to_json(label);
    }
    out.push_back(std::move(sample));
  }
  return out;
}

py::dict train_on(MultimodalModel& model, const py::list& train, const py::list& validation,
                  const py::dict& settings, const std::string& output_dir,
                  const std::string& resume, const py::object& callback) {
  auto recipe = read_config<api::Recipe>(to_json(settings), "train");
  data::DatasetSplits splits;
  splits.train = to_samples(model, train);
  splits.validation = to_samples(model, validation);
  api::StageProgress progress;
  if (!callback.is_none()) {
    progress = [&](const std::string& stage, double done, double total, const std::string& note) {
      py::gil_scoped_acquire acquire;
      throw_if_interrupted();
      callback(stage, done, total, note);
    };
  }
  Json result;
  {
    py::gil_scoped_release release;
    api::RecipeData data = api::prepare_features(model, recipe, splits, nullptr, progress);
    result = api::train_model(model, recipe, data, output_dir, progress, resume).to_json();
  }
  return from_json(result);
}

}  // namespace

void bind_api(py::module_& m) {
  py::class_<FeatureCache, std::shared_ptr<FeatureCache>>(m, "FeatureCache")
      .def(py::init<int64_t, const std::string&>(), py::arg("max_size") = 1024,
           py::arg("path") = "")
      .def("get",
           [](FeatureCache& self, const std::string& key) -> py::object {
             auto found = released([&] { return self.get(key); });
             if (!found) return py::none();
             return from_tensors(*found);
           })
      .def("put",
           [](FeatureCache& self, const std::string& key, const py::dict& tensors) {
             TensorMap features = to_tensors(tensors);
             released([&] { self.put(key, features); });
           })
      .def("__contains__",
           [](FeatureCache& self, const std::string& key) { return self.contains(key); })
      .def("__len__", &FeatureCache::size)
      .def("clear", &FeatureCache::clear, py::call_guard<py::gil_scoped_release>())
      .def("stats", [](const FeatureCache& self) {
        auto s = self.stats();
        py::dict out;
        out["hits"] = s.hits;
        out["misses"] = s.misses;
        out["evictions"] = s.evictions;
        return out;
      });

  py::class_<Feature>(m, "Feature", "A stream's feature")
      .def_readonly("stream", &Feature::stream)
      .def_readonly("quality", &Feature::quality)
      .def_readonly("content_hash", &Feature::content_hash)
      .def_property_readonly("tokens", [](const Feature& f) { return f.encoded.tokens[0]; })
      .def_property_readonly("pooled", [](const Feature& f) { return f.encoded.pooled[0]; });

  py::class_<MultimodalModel, std::shared_ptr<MultimodalModel>>(m, "MultimodalModel")
      .def_static("load_default",
                  [](const py::dict& options) {
                    api::ModelOptions how = model_options(options);
                    return released([&] { return MultimodalModel::load_default(how); });
                  })
      .def_static("from_pretrained",
                  [](const std::string& name, const py::dict& options) {
                    api::ModelOptions how = model_options(options);
                    return released([&] { return MultimodalModel::from_pretrained(name, how); });
                  })
      .def_static(
          "build",
          [](const py::dict& recipe, const std::vector<std::string>& classes,
             const std::string& dir, const py::list& train, const py::list& validation) {
            data::DatasetSplits splits;
            splits.classes = classes;
            auto parsed = read_config<api::Recipe>(to_json(recipe), "recipe");
            parsed.dir = dir;
            if (!train.empty()) {
              // The kinds of the streams are those of the model as it is before it is sized.
              api::Recipe plain = parsed;
              plain.compute = Json::object({});
              auto model = api::build_model(plain, splits);
              splits.train = to_samples(*model, train);
              splits.validation = to_samples(*model, validation);
            }
            py::gil_scoped_release release;
            auto model = api::build_model(parsed, splits);
            api::note_realised_split(*model,
                                     splits.validation.empty() ? splits.train : splits.validation);
            return model;
          },
          py::arg("recipe"), py::arg("classes"), py::arg("dir") = "", py::arg("train") = py::list(),
          py::arg("validation") = py::list())
      .def("predict",
           [](MultimodalModel& self, const py::dict& streams, const py::dict& options) {
             Sample sample = to_sample(self, streams);
             api::PredictOptions how = predict_options(options);
             Json out;
             {
               py::gil_scoped_release release;
               out = self.predict(sample.streams, how).to_json();
             }
             return from_json(out);
           })
      .def("predict_batch",
           [](MultimodalModel& self, const py::list& items, const py::dict& options) {
             std::vector<Sample> samples;
             for (auto item : items) {
               samples.push_back(to_sample(self, item.cast<py::dict>()));
               samples.back().id = "item " + std::to_string(samples.size() - 1);
             }
             api::PredictOptions how = predict_options(options);
             Json out = Json::array();
             {
               py::gil_scoped_release release;
               for (const auto& p : self.predict_batch(samples, how)) out.push_back(p.to_json());
             }
             return from_json(out);
           })
      .def("encode",
           [](MultimodalModel& self, const std::string& stream, const py::object& value) {
             self.processor(stream);
             Value converted = to_value(value, self.network().modality(stream), stream);
             py::gil_scoped_release release;
             return self.encode(stream, converted);
           })
      .def(
          "decode",
          [](MultimodalModel& self, const std::vector<Feature>& features, const py::dict& options) {
            api::PredictOptions how = predict_options(options);
            Json out;
            {
              py::gil_scoped_release release;
              out = self.decode(features, how).to_json();
            }
            return from_json(out);
          })
      .def("save_pretrained", &MultimodalModel::save_pretrained, py::arg("dir"),
           py::arg("half") = false, py::call_guard<py::gil_scoped_release>())
      .def("set_cache",
           [](MultimodalModel& self, const std::shared_ptr<runtime::FeatureCache>& cache) {
             self.set_cache(cache);
           })
      .def("config", [](const MultimodalModel& self) { return from_json(self.config()); })
      .def("calibration", [](const MultimodalModel& self) { return from_json(self.calibration()); })
      .def_property_readonly("card", &MultimodalModel::card)
      .def_property_readonly("version", &MultimodalModel::version)
      .def("streams",
           [](const MultimodalModel& self) {
             py::dict out;
             for (const std::string& name : self.network().stream_names())
               out[py::str(name)] = to_string(self.network().modality(name));
             return out;
           })
      .def("tasks", [](const MultimodalModel& self) { return self.network().task_names(); })
      .def("parameters",
           [](const MultimodalModel& self) {
             py::dict out;
             for (const auto& [name, tensor] : self.network().named_parameters())
               out[py::str(name)] = tensor;
             return out;
           })
      .def("train_on", &train_on, py::arg("train"), py::arg("validation"), py::arg("settings"),
           py::arg("output_dir") = "", py::arg("resume") = "none",
           py::arg("callback") = py::none());

  py::class_<AutoModel, std::shared_ptr<AutoModel>>(m, "AutoModel")
      .def_static("from_pretrained",
                  [](const std::string& name, const py::dict& options) {
                    api::ModelOptions how = model_options(options);
                    return released([&] { return AutoModel::from_pretrained(name, how); });
                  })
      .def("__call__",
           [](const AutoModel& self, const py::list& values) {
             std::vector<Value> converted;
             for (auto value : values)
               converted.push_back(to_value(value, self.encoder()->modality(), "input"));
             TensorMap out;
             {
               py::gil_scoped_release release;
               out = self(converted);
             }
             return from_tensors(out);
           })
      .def("forward",
           [](const AutoModel& self, const py::dict& inputs) {
             TensorMap in = to_tensors(inputs), out;
             {
               py::gil_scoped_release release;
               out = self.forward(in);
             }
             return from_tensors(out);
           })
      .def("process",
           [](const AutoModel& self, const py::list& values) {
             std::vector<Value> given;
             for (auto value : values)
               given.push_back(to_value(value, self.encoder()->modality(), "input"));
             return from_tensors(released([&] {
               std::vector<const Value*> rows;
               for (Value& v : given) {
                 v = data::decode(v, self.encoder()->modality(), "input");
                 rows.push_back(&v);
               }
               return self.processor()->process(rows, "input");
             }));
           })
      .def_property_readonly(
          "modality", [](const AutoModel& self) { return to_string(self.encoder()->modality()); })
      .def_property_readonly(
          "config", [](const AutoModel& self) { return from_json(self.encoder_config()); });
}

}  // namespace plait::python
