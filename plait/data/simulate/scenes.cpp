#include "plait/data/simulate/scenes.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <random>

#include "plait/core/error.h"

namespace plait::data {
namespace {

struct Colour {
  const char* name;
  const char* zh;
  std::array<double, 3> rgb;
};
constexpr std::array<Colour, 7> kColours = {{{"red", "红色", {220, 40, 40}},
                                             {"green", "绿色", {40, 160, 60}},
                                             {"blue", "蓝色", {40, 80, 210}},
                                             {"yellow", "黄色", {235, 200, 40}},
                                             {"purple", "紫色", {140, 60, 170}},
                                             {"orange", "橙色", {240, 130, 30}},
                                             {"black", "黑色", {30, 30, 30}}}};

/// Distance to the edge in units of the radius: negative inside.
using Edge = double (*)(double x, double y);
struct Shape {
  const char* name;
  const char* plural;
  const char* zh;
  Edge edge;
};

double circle(double x, double y) { return std::hypot(x, y) - 0.9; }
double square(double x, double y) { return std::max(std::abs(x), std::abs(y)) - 0.78; }
double ring(double x, double y) { return std::abs(std::hypot(x, y) - 0.68) - 0.22; }
double diamond(double x, double y) { return (std::abs(x) + std::abs(y) - 0.98) * 0.7; }
double cross(double x, double y) {
  const double a = std::abs(x), b = std::abs(y);
  return std::max(std::max(a, b) - 0.88, std::min(a, b) - 0.3);
}
double triangle(double x, double y) {
  return std::max(y - 0.6, std::abs(x) * 0.87 - (y + 0.95) * 0.5);
}
double star(double x, double y) {
  const double turn = 2 * std::numbers::pi / 5;
  double angle = std::fmod(std::atan2(x, -y) + 10 * std::numbers::pi, turn);
  angle = std::min(angle, turn - angle);
  // Along the edge from a tip (angle 0) to the notch between two (half a turn).
  const double tip = 1.0, notch = 0.42, half = turn / 2;
  const double along =
      tip * notch * std::sin(half) / (tip * std::sin(angle) + notch * std::sin(half - angle));
  return (std::hypot(x, y) - along) * 0.6;
}
constexpr std::array<Shape, 7> kShapes = {{{"circle", "circles", "圆形", circle},
                                           {"square", "squares", "方形", square},
                                           {"triangle", "triangles", "三角形", triangle},
                                           {"star", "stars", "星形", star},
                                           {"cross", "crosses", "十字", cross},
                                           {"ring", "rings", "圆环", ring},
                                           {"diamond", "diamonds", "菱形", diamond}}};

struct Place {
  const char* name;
  const char* phrase;
  const char* zh;
  double x, y;  ///< Middle of the half, in [0, 1]
};
constexpr std::array<Place, 4> kPlaces = {{{"left", "on the left", "左边", 0.25, 0.5},
                                           {"right", "on the right", "右边", 0.75, 0.5},
                                           {"top", "at the top", "上面", 0.5, 0.25},
                                           {"bottom", "at the bottom", "下面", 0.5, 0.75}}};
constexpr std::array<const char*, 4> kNumbers = {"no", "one", "two", "three"};
constexpr std::array<const char*, 4> kNumbersZh = {"零", "一", "两", "三"};

/// Whole numbers below n. Not std::uniform_int_distribution, which libraries make differently.
size_t below(std::mt19937_64& random, size_t n) { return static_cast<size_t>(random() % n); }
double between(std::mt19937_64& random, double low, double high) {
  return low + (high - low) * static_cast<double>(random() >> 11) * 0x1.0p-53;
}

struct Group {
  const Shape* shape;
  const Colour* colour;
  size_t count;
  const Place* place;
};

void draw(at::Tensor& picture, const Group& group, std::mt19937_64& random) {
  const int64_t size = picture.size(0);
  auto* pixels = picture.mutable_data_ptr<uint8_t>();
  const bool sideways = group.place->x == 0.5;  // the half is wide, else it is tall
  for (size_t i = 0; i < group.count; ++i) {
    const double step = (static_cast<double>(i) + 0.5) / static_cast<double>(group.count);
    const double radius = between(random, 0.1, group.count == 1 ? 0.17 : 0.14);
    const double across = between(random, -0.05, 0.05);
    const double x = sideways ? step : group.place->x + across;
    const double y = sideways ? group.place->y + across : step;
    const double r = radius * static_cast<double>(size);
    const double cx = x * static_cast<double>(size), cy = y * static_cast<double>(size);
    const auto low = [&](double c) {
      return std::max<int64_t>(0, static_cast<int64_t>(c - r - 1));
    };
    const auto high = [&](double c) {
      return std::min<int64_t>(size, static_cast<int64_t>(c + r + 2));
    };
    for (int64_t row = low(cy); row < high(cy); ++row) {
      for (int64_t column = low(cx); column < high(cx); ++column) {
        const double edge = group.shape->edge((static_cast<double>(column) + 0.5 - cx) / r,
                                              (static_cast<double>(row) + 0.5 - cy) / r);
        const double cover = std::clamp(0.5 - edge * r, 0.0, 1.0);
        uint8_t* pixel = pixels + (row * size + column) * 3;
        for (size_t c = 0; c < 3; ++c) {
          pixel[c] = static_cast<uint8_t>(
              std::lround(pixel[c] + cover * (group.colour->rgb[c] - pixel[c])));
        }
      }
    }
  }
}

std::string described(const Group& group) {
  const std::string colour = group.colour->name;
  const std::string article = colour == "orange" ? "an " : "a ";
  const std::string what = group.count == 1 ? article + colour + " " + group.shape->name
                                            : std::string(kNumbers[group.count]) + " " + colour +
                                                  " " + group.shape->plural;
  return what + " " + group.place->phrase;
}

std::string described_zh(const Group& group) {
  return std::string(group.place->zh) + "有" + kNumbersZh[group.count] + "个" + group.colour->zh +
         "的" + group.shape->zh;
}

void ask(Scene& scene, const Group& group) {
  const std::string shape = group.shape->name, plural = group.shape->plural;
  const bool one = group.count == 1;
  scene.questions.push_back({"what", "What is " + std::string(group.place->phrase) + "?", shape});
  scene.questions.push_back(
      {"colour", one ? "What colour is the " + shape + "?" : "What colour are the " + plural + "?",
       group.colour->name});
  scene.questions.push_back({"count", "How many " + plural + " are there?", kNumbers[group.count]});
  scene.questions.push_back({"where",
                             one ? "Where is the " + shape + "?" : "Where are the " + plural + "?",
                             group.place->name});
}

}  // namespace

Scene make_scene(uint64_t seed, int64_t size) {
  require(size >= 32 && size <= 1024, "scenes", "expected a size from 32 to 1024");
  std::mt19937_64 random(seed * 0x9E3779B97F4A7C15u + 0x5CE9E5);
  random.discard(8);
  std::vector<Group> groups;
  const size_t number = 1 + below(random, 2), place = below(random, 4);
  for (size_t i = 0; i < number; ++i) {
    size_t shape = below(random, kShapes.size());
    // Two groups of one shape would leave "what colour are the stars?" without one answer.
    while (i == 1 && &kShapes[shape] == groups[0].shape) shape = below(random, kShapes.size());
    groups.push_back({&kShapes[shape], &kColours[below(random, kColours.size())],
                      1 + below(random, 3), &kPlaces[i == 0 ? place : place ^ 1]});
  }
  Scene scene;
  scene.picture = at::empty({size, size, 3}, at::kByte);
  std::vector<int64_t> background;
  for (int64_t c = 0; c < 3; ++c) {
    background.push_back(205 + static_cast<int64_t>(below(random, 51)));
    scene.picture.select(2, c).fill_(background.back());
  }
  scene.truth = Json::object({{"groups", Json::array()}, {"background", background}});
  for (const Group& group : groups) {
    draw(scene.picture, group, random);
    scene.truth["groups"].push_back(Json::object({{"shape", group.shape->name},
                                                  {"colour", group.colour->name},
                                                  {"count", static_cast<int64_t>(group.count)},
                                                  {"place", group.place->name}}));
    const bool first = scene.caption.empty();
    scene.caption += (first ? "" : " and ") + described(group);
    scene.caption_zh += (first ? "" : "，") + described_zh(group);
    ask(scene, group);
  }
  return scene;
}

const std::vector<std::string>& scene_shapes() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Shape& shape : kShapes) all.emplace_back(shape.name);
    return all;
  }();
  return names;
}

const std::vector<std::string>& scene_colours() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Colour& colour : kColours) all.emplace_back(colour.name);
    return all;
  }();
  return names;
}

}  // namespace plait::data
