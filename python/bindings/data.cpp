#include <ATen/ATen.h>

#include "plait/data/audio/audio.h"
#include "plait/data/augment/augment.h"
#include "plait/data/dataset.h"
#include "plait/data/datasets/datasets.h"
#include "plait/data/image/image.h"
#include "plait/data/processor.h"
#include "plait/data/text/tokenizer.h"
#include "plait/models/catalogue.h"
#include "python/bindings/common.h"

namespace plait::python {
namespace {

py::dict from_sample(const Sample& sample) {
  py::dict out, streams, labels;
  for (const auto& [name, value] : sample.streams) streams[py::str(name)] = from_value(value);
  for (const auto& [name, label] : sample.labels) labels[py::str(name)] = from_json(label);
  out["id"] = sample.id;
  out["streams"] = streams;
  out["labels"] = labels;
  return out;
}

py::list from_samples(const std::vector<Sample>& samples) {
  py::list out;
  for (const Sample& sample : samples) out.append(from_sample(sample));
  return out;
}

py::dict from_info(const data::DatasetInfo& info) {
  py::dict out, streams;
  for (const auto& [name, modality] : info.streams) streams[py::str(name)] = to_string(modality);
  out["name"] = info.name;
  out["description"] = info.description;
  out["licence"] = info.licence;
  out["streams"] = streams;
  out["label"] = info.label;
  return out;
}

}  // namespace

void bind_data(py::module_& m) {
  using data::Tokenizer;
  py::class_<Tokenizer, std::shared_ptr<Tokenizer>>(m, "Tokenizer", "Reads tokenizer.json")
      .def_static("from_file",
                  [](const std::string& path) {
                    return std::const_pointer_cast<Tokenizer>(Tokenizer::from_file(path));
                  })
      .def(
          "encode",
          [](const Tokenizer& self, const std::string& text, bool special) {
            data::Encoding e;
            {
              py::gil_scoped_release release;
              e = self.encode(text, {.add_special_tokens = special});
            }
            return e.ids;
          },
          py::arg("text"), py::arg("add_special_tokens") = true)
      .def(
          "decode",
          [](const Tokenizer& self, const std::vector<int64_t>& ids, bool skip) {
            return self.decode(ids, skip);
          },
          py::arg("ids"), py::arg("skip_special_tokens") = true)
      .def("__len__", &Tokenizer::vocab_size);

  m.def("decode_image", [](const py::bytes& bytes) {
    std::string content = bytes;
    py::gil_scoped_release release;
    return data::decode_image(content, "image");
  });
  m.def(
      "load_image", [](const std::string& path) { return data::load_image(path); },
      py::call_guard<py::gil_scoped_release>());
  m.def(
      "load_audio",
      [](const std::string& path, int64_t sample_rate) {
        Waveform wave;
        {
          py::gil_scoped_release release;
          wave = data::load_audio(path, {.sample_rate = sample_rate});
        }
        return py::make_tuple(wave.samples, wave.sample_rate);
      },
      py::arg("path"), py::arg("sample_rate") = 0);
  m.def("damage_kinds", [](const std::string& modality) {
    return data::damage_kinds(modality_from_string(modality));
  });
  m.def(
      "damage",
      [](const py::object& value, const std::string& modality, const std::string& kind,
         double severity, uint64_t seed) {
        Modality of = modality_from_string(modality);
        Value given = to_value(value, of, modality);
        Value damaged;
        {
          py::gil_scoped_release release;
          damaged = data::damage(data::decode(given, of, modality), of, kind, severity, seed);
        }
        return from_value(damaged);
      },
      py::arg("value"), py::arg("modality"), py::arg("kind"), py::arg("severity"),
      py::arg("seed") = 0);

  m.def("list_datasets", [] {
    py::list out;
    for (const auto& info : data::list_datasets()) out.append(from_info(info));
    return out;
  });
  m.def(
      "load_dataset",
      [](const std::string& name, const std::vector<std::string>& streams, int64_t seed) {
        data::DatasetSplits splits;
        {
          py::gil_scoped_release release;
          splits = data::load_dataset(name, {.streams = streams, .seed = seed});
        }
        py::dict out;
        out["info"] = from_info(splits.info);
        out["classes"] = splits.classes;
        out["train"] = from_samples(splits.train);
        out["validation"] = from_samples(splits.validation);
        out["test"] = from_samples(splits.test);
        return out;
      },
      py::arg("name"), py::arg("streams") = std::vector<std::string>{}, py::arg("seed") = 0);
  m.def(
      "read_items",
      [](const std::string& path, const std::map<std::string, std::string>& streams) {
        data::ManifestStreams modalities;
        for (const auto& [name, modality] : streams) {
          modalities[name] = modality_from_string(modality);
        }
        std::vector<Sample> samples;
        {
          py::gil_scoped_release release;
          data::JsonLinesDataset items({path}, modalities);
          for (int64_t i = 0; i < items.size(); ++i) samples.push_back(items.get(i));
        }
        return from_samples(samples);
      },
      py::arg("path"), py::arg("streams"));
  m.def("list_models", [] {
    py::list out;
    for (const auto& model : models::list_models()) {
      py::dict row;
      row["name"] = model.name;
      row["description"] = model.description;
      row["modality"] = to_string(model.modality);
      row["licence"] = model.licence;
      row["bytes"] = model.download_bytes();
      out.append(row);
    }
    return out;
  });
  m.def(
      "get_model", [](const std::string& name) { return models::get_model(name); },
      py::call_guard<py::gil_scoped_release>());
}

}  // namespace plait::python
