#include "plait/data/image/text_boxes.h"

#include <opencv2/imgproc.hpp>
#include <polyclipping/clipper.hpp>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"

namespace plait::data {
namespace {

constexpr float kMinSide = 3;

/// A view; OpenCV only reads it.
cv::Mat view(const RawImage& image) {
  return {static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC(image.channels),
          const_cast<uint8_t*>(image.pixels.data())};
}

RawImage to_raw(const cv::Mat& image) {
  RawImage out{image.cols, image.rows, image.channels(), {}};
  size_t row = static_cast<size_t>(image.cols) * static_cast<size_t>(image.channels());
  out.pixels.resize(row * static_cast<size_t>(image.rows));
  for (int y = 0; y < image.rows; ++y)
    std::copy_n(image.ptr<uint8_t>(y), row, out.pixels.data() + row * static_cast<size_t>(y));
  return out;
}

/// OpenCV's exceptions name its own source lines; ours says what matters.
template <class F>
auto guarded(F f) {
  try {
    return f();
  } catch (const cv::Exception&) {
    fail(ErrorCode::kInvalidArgument, "text_boxes",
         "expected a picture of sizes that can be drawn");
  }
}

/// The smallest rectangle around points, its corners from the top left on, and its short side.
std::pair<Quad, float> smallest_rectangle(const std::vector<cv::Point>& points) {
  cv::RotatedRect rectangle = cv::minAreaRect(points);
  std::array<cv::Point2f, 4> corners;
  rectangle.points(corners.data());
  std::stable_sort(corners.begin(), corners.end(),
                   [](const auto& a, const auto& b) { return a.x < b.x; });
  bool left = corners[1].y > corners[0].y, right = corners[3].y > corners[2].y;
  std::array<size_t, 4> order{left ? 0u : 1u, right ? 2u : 3u, right ? 3u : 2u, left ? 1u : 0u};
  Quad quad;
  for (size_t i = 0; i < 4; ++i) quad[i] = {corners[order[i]].x, corners[order[i]].y};
  return {quad, std::min(rectangle.size.width, rectangle.size.height)};
}

/// Mean of the map inside the quadrilateral.
double mean_inside(const cv::Mat& map, Quad quad) {
  auto bound = [](float value, int extent) {
    return std::clamp(static_cast<int>(value), 0, extent - 1);
  };
  auto [min_x, max_x] = std::minmax({quad[0][0], quad[1][0], quad[2][0], quad[3][0]});
  auto [min_y, max_y] = std::minmax({quad[0][1], quad[1][1], quad[2][1], quad[3][1]});
  int left = bound(std::floor(min_x), map.cols), right = bound(std::ceil(max_x), map.cols);
  int top = bound(std::floor(min_y), map.rows), bottom = bound(std::ceil(max_y), map.rows);
  std::vector<cv::Point> points;
  for (const auto& [x, y] : quad) {
    points.emplace_back(static_cast<int>(x - static_cast<float>(left)),
                        static_cast<int>(y - static_cast<float>(top)));
  }
  cv::Mat mask = cv::Mat::zeros(bottom - top + 1, right - left + 1, CV_8U);
  cv::fillPoly(mask, std::vector<std::vector<cv::Point>>{points}, cv::Scalar(1));
  return cv::mean(map(cv::Rect(left, top, mask.cols, mask.rows)), mask)[0];
}

/// The quadrilateral moved outwards with round corners; empty when nothing is left of it.
std::vector<cv::Point> grow(const Quad& quad, double ratio) {
  double area = 0, length = 0;
  ClipperLib::Path path;
  for (size_t i = 0; i < 4; ++i) {
    double x = quad[i][0], y = quad[i][1];
    double next_x = quad[(i + 1) % 4][0], next_y = quad[(i + 1) % 4][1];
    area += (x * next_y - next_x * y) / 2;
    length += std::hypot(next_x - x, next_y - y);
    path.emplace_back(static_cast<ClipperLib::cInt>(x), static_cast<ClipperLib::cInt>(y));
  }
  if (length == 0) return {};
  ClipperLib::ClipperOffset offset;
  offset.AddPath(path, ClipperLib::jtRound, ClipperLib::etClosedPolygon);
  ClipperLib::Paths grown;
  offset.Execute(grown, std::abs(area) * ratio / length);
  if (grown.size() != 1) return {};
  std::vector<cv::Point> points;
  for (const ClipperLib::IntPoint& p : grown[0])
    points.emplace_back(static_cast<int>(p.X), static_cast<int>(p.Y));
  return points;
}

/// Corners by place, cut to the picture; false for a box of at most three pixels.
bool tidy(Quad& quad, int64_t height, int64_t width) {
  std::stable_sort(quad.begin(), quad.end(),
                   [](const auto& a, const auto& b) { return a[0] < b[0]; });
  auto [a, b, c, d] = quad;
  if (b[1] < a[1]) std::swap(a, b);
  if (d[1] < c[1]) std::swap(c, d);
  quad = {a, c, d, b};
  for (auto& [x, y] : quad) {
    x = std::clamp(x, 0.0f, static_cast<float>(width - 1));
    y = std::clamp(y, 0.0f, static_cast<float>(height - 1));
  }
  auto side = [&](size_t i, size_t j) {
    return static_cast<int>(std::hypot(quad[i][0] - quad[j][0], quad[i][1] - quad[j][1]));
  };
  return side(0, 1) > 3 && side(0, 3) > 3;
}

void sort_for_reading(std::vector<Quad>& quads) {
  std::stable_sort(quads.begin(), quads.end(), [](const Quad& a, const Quad& b) {
    return std::pair(a[0][1], a[0][0]) < std::pair(b[0][1], b[0][0]);
  });
  for (size_t i = 0; i + 1 < quads.size(); ++i) {
    for (size_t j = i + 1; j-- > 0;) {
      if (!(std::abs(quads[j + 1][0][1] - quads[j][0][1]) < 10 &&
            quads[j + 1][0][0] < quads[j][0][0]))
        break;
      std::swap(quads[j], quads[j + 1]);
    }
  }
}

}  // namespace

std::vector<Quad> find_text_boxes(const float* map, int64_t height, int64_t width,
                                  int64_t picture_height, int64_t picture_width,
                                  const TextBoxOptions& options) {
  return guarded([&] {
    const cv::Mat values(static_cast<int>(height), static_cast<int>(width), CV_32F,
                         const_cast<float*>(map));
    cv::Mat mask = values > options.threshold;
    if (options.dilate) cv::dilate(mask, mask, cv::Mat::ones(2, 2, CV_8U));
    std::vector<std::vector<cv::Point>> contours;
    cv::findContours(mask, contours, cv::RETR_LIST, cv::CHAIN_APPROX_SIMPLE);
    if (contours.size() > static_cast<size_t>(options.max_candidates))
      contours.resize(static_cast<size_t>(options.max_candidates));

    std::vector<Quad> out;
    for (const auto& contour : contours) {
      auto [core, side] = smallest_rectangle(contour);
      if (side < kMinSide || mean_inside(values, core) < options.box_threshold) continue;
      std::vector<cv::Point> grown = grow(core, options.unclip_ratio);
      if (grown.empty()) continue;
      auto [quad, grown_side] = smallest_rectangle(grown);
      if (grown_side < kMinSide + 2) continue;
      auto place = [](float value, int64_t from, int64_t to) {
        float scaled = value / static_cast<float>(from) * static_cast<float>(to);
        return std::clamp(std::nearbyint(scaled), 0.0f, static_cast<float>(to));
      };
      for (auto& [x, y] : quad) {
        x = place(x, width, picture_width);
        y = place(y, height, picture_height);
      }
      if (tidy(quad, picture_height, picture_width)) out.push_back(quad);
    }
    sort_for_reading(out);
    return out;
  });
}

RawImage resize_pixels(const RawImage& image, int64_t height, int64_t width) {
  return guarded([&] {
    cv::Mat out;
    cv::resize(view(image), out, {static_cast<int>(width), static_cast<int>(height)});
    return to_raw(out);
  });
}

RawImage crop_quad(const RawImage& image, const Quad& quad) {
  return guarded([&] {
    auto side = [&](size_t i, size_t j) {
      return std::hypot(quad[i][0] - quad[j][0], quad[i][1] - quad[j][1]);
    };
    int width = static_cast<int>(std::max(side(0, 1), side(2, 3)));
    int height = static_cast<int>(std::max(side(0, 3), side(1, 2)));
    auto w = static_cast<float>(width), h = static_cast<float>(height);
    const std::array<cv::Point2f, 4> upright{{{0, 0}, {w, 0}, {w, h}, {0, h}}};
    std::array<cv::Point2f, 4> corners;
    for (size_t i = 0; i < 4; ++i) corners[i] = {quad[i][0], quad[i][1]};
    cv::Mat out;
    cv::warpPerspective(view(image), out,
                        cv::getPerspectiveTransform(corners.data(), upright.data()),
                        {width, height}, cv::INTER_CUBIC, cv::BORDER_REPLICATE);
    if (static_cast<double>(height) / width >= 1.5)
      cv::rotate(out, out, cv::ROTATE_90_COUNTERCLOCKWISE);
    return to_raw(out);
  });
}

RawImage rotate_half(const RawImage& image) {
  cv::Mat out;
  cv::rotate(view(image), out, cv::ROTATE_180);
  return to_raw(out);
}

RawImage pad_rows(const RawImage& image, int64_t rows) {
  cv::Mat out;
  cv::copyMakeBorder(view(image), out, static_cast<int>(rows), static_cast<int>(rows), 0, 0,
                     cv::BORDER_CONSTANT);
  return to_raw(out);
}

void draw_quads(RawImage& image, const std::vector<Quad>& quads,
                const std::vector<std::string>& labels) {
  cv::Mat canvas = view(image);
  const auto shorter = static_cast<double>(std::min(image.width, image.height));
  int thickness = std::max(1, static_cast<int>(shorter / 300));
  for (const Quad& quad : quads) {
    std::vector<cv::Point> points;
    for (const auto& [x, y] : quad) points.emplace_back(cvRound(x), cvRound(y));
    cv::polylines(canvas, points, true, cv::Scalar(255, 0, 0), thickness);
  }
  // Above all outlines, each on a bar that stays within the picture.
  const double size = std::max(0.4, shorter / 1000);
  for (size_t i = 0; i < std::min(labels.size(), quads.size()); ++i) {
    int below = 0;
    cv::Size text = cv::getTextSize(labels[i], cv::FONT_HERSHEY_SIMPLEX, size, thickness, &below);
    cv::Point at(cvRound(quads[i][0][0]), std::max(cvRound(quads[i][0][1]) - below, text.height));
    cv::rectangle(canvas, at + cv::Point(0, below), at + cv::Point(text.width, -text.height),
                  cv::Scalar(255, 0, 0), cv::FILLED);
    cv::putText(canvas, labels[i], at, cv::FONT_HERSHEY_SIMPLEX, size, cv::Scalar(255, 255, 255),
                thickness, cv::LINE_AA);
  }
}

}  // namespace plait::data
