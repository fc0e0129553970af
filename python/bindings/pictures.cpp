#include <ATen/ATen.h>

#include "plait/api/picture_generator.h"
#include "python/bindings/calls.h"

namespace plait::python {
namespace {

using api::PictureGenerator;

/// Hands each step to Python; false or an exception there cancels.
runtime::OnDiffusionStep telling(const py::object& on_step) {
  return [&on_step](const runtime::DiffusionStep& step) {
    py::gil_scoped_acquire acquire;
    return goes_on(on_step, step.step, step.total, step.timestep, step.latents);
  };
}

}  // namespace

void bind_pictures(py::module_& m) {
  py::class_<PictureGenerator, std::shared_ptr<PictureGenerator>>(m, "PictureGenerator")
      .def_static("from_pretrained",
                  [](const std::string& name, const std::string& device, const std::string& dtype) {
                    const auto how = model_options(device, dtype);
                    py::gil_scoped_release release;
                    return PictureGenerator::from_pretrained(name, how);
                  })
      .def("draw",
           [](const PictureGenerator& self, const std::string& prompt, const py::dict& options,
              const py::object& image, const py::object& mask, const py::object& noise,
              const py::object& on_step) {
             const auto how = api::PictureOptions::from_json(to_json(options));
             api::PictureInputs given;
             if (!image.is_none()) given.image = to_value(image, Modality::kImage, "image");
             if (!mask.is_none()) given.mask = to_value(mask, Modality::kImage, "mask");
             if (!noise.is_none()) given.noise = noise.cast<at::Tensor>();
             const auto tell = telling(on_step);
             api::DrawnPictures made;
             {
               py::gil_scoped_release release;
               made = self.draw(prompt, how, given, tell);
             }
             return py::make_tuple(made.pictures, made.steps, made.cancelled, made.seconds);
           })
      .def("sampler",
           [](const PictureGenerator& self, const std::string& name) {
             return from_json(write_config(self.sampler(name)));
           })
      .def("prompt_ids", &PictureGenerator::prompt_ids)
      .def_property_readonly("size", &PictureGenerator::size)
      .def_property_readonly("config", [](const PictureGenerator& self) {
        return from_json(self.diffusion().unet().config());
      });
  m.def("picture_options", [] { return from_json(config_schema<runtime::DiffusionOptions>()); });
}

}  // namespace plait::python
