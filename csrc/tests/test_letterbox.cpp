// The letterbox against exact interpolation in double, over odd sizes. Every image lies in a heap block of exactly its
// bytes, so that a sanitizer sees a read beyond any end. YOLOKKN_ISA=baseline runs the other path.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "yolokkn/error.h"
#include "yolokkn/letterbox.h"

namespace {

using yolokkn::ImageView;
using yolokkn::Letterbox;
using yolokkn::LetterboxValues;

constexpr LetterboxValues kPlain{{1.0f, 1.0f, 1.0f}, {0.0f, 0.0f, 0.0f}, true, 114, false};
constexpr double kTolerance = 0.02;

struct Picture {
  std::unique_ptr<uint8_t[]> bytes;
  ImageView view;
};

Picture picture(int64_t height, int64_t width, int64_t gap, bool upside_down, std::mt19937& random) {
  const int64_t stride = 3 * width + gap;
  const auto size = static_cast<size_t>(stride * (height - 1) + 3 * width);
  Picture made{std::make_unique<uint8_t[]>(size), {}};
  for (size_t i = 0; i < size; ++i) made.bytes[i] = static_cast<uint8_t>(random() & 255);
  const uint8_t* first = made.bytes.get() + (upside_down ? stride * (height - 1) : 0);
  made.view = {first, height, width, upside_down ? -stride : stride};
  return made;
}

double centre(int64_t index, int64_t from, int64_t to) {
  const double at = static_cast<double>((2 * index + 1) * from) / static_cast<double>(2 * to) - 0.5;
  return std::clamp(at, 0.0, static_cast<double>(from - 1));
}

double expected(ImageView image, const Letterbox& g, int64_t y, int64_t x, int channel) {
  y -= g.pad_top;
  x -= g.pad_left;
  if (y < 0 || x < 0 || y >= g.resized_h || x >= g.resized_w) return 114.0;
  const double sy = centre(y, image.height, g.resized_h);
  const double sx = centre(x, image.width, g.resized_w);
  const auto y0 = static_cast<int64_t>(sy);
  const auto x0 = static_cast<int64_t>(sx);
  const int64_t y1 = std::min(y0 + 1, image.height - 1);
  const int64_t x1 = std::min(x0 + 1, image.width - 1);
  const auto at = [&](int64_t r, int64_t c) {
    return static_cast<double>(image.data[r * image.row_stride + 3 * c + channel]);
  };
  const double fy = sy - static_cast<double>(y0);
  const double fx = sx - static_cast<double>(x0);
  const double left = at(y0, x0) * (1 - fy) + at(y1, x0) * fy;
  const double right = at(y0, x1) * (1 - fy) + at(y1, x1) * fy;
  return left * (1 - fx) + right * fx;
}

bool agrees(ImageView image, const Letterbox& g) {
  const auto size = static_cast<size_t>(3 * g.input_h * g.input_w);
  const auto out = std::make_unique<float[]>(size);
  yolokkn::letterbox(image, g, kPlain, {out.get(), size});
  size_t i = 0;
  for (int plane = 0; plane < 3; ++plane) {
    for (int64_t y = 0; y < g.input_h; ++y) {
      for (int64_t x = 0; x < g.input_w; ++x, ++i) {
        const double want = expected(image, g, y, x, 2 - plane);
        if (std::fabs(static_cast<double>(out[i]) - want) <= kTolerance) continue;
        std::printf("%ldx%ld -> %ldx%ld in %ldx%ld: plane %d (%ld, %ld) is %f, expected %f\n", long(g.image_h),
                    long(g.image_w), long(g.resized_h), long(g.resized_w), long(g.input_h), long(g.input_w), plane,
                    long(y), long(x), static_cast<double>(out[i]), want);
        return false;
      }
    }
  }
  return true;
}

// A size, most often small; whole multiples of `part` every third time, so that the paths for whole ratios are taken.
int64_t side(std::mt19937& random, int64_t part) {
  switch (random() % 3) {
    case 0:
      return part * (1 + static_cast<int64_t>(random() % 9));
    case 1:
      return 1 + static_cast<int64_t>(random() % 17);
    default:
      return 1 + static_cast<int64_t>(random() % 90);
  }
}

int random_sizes(int count) {
  std::mt19937 random(7);
  int failures = 0;
  for (int i = 0; i < count; ++i) {
    Letterbox g{};
    g.resized_h = 1 + static_cast<int64_t>(random() % 12);
    g.resized_w = 1 + static_cast<int64_t>(random() % 40);
    g.pad_top = static_cast<int64_t>(random() % 3);
    g.pad_left = static_cast<int64_t>(random() % 3);
    g.input_h = g.resized_h + g.pad_top + static_cast<int64_t>(random() % 3);
    g.input_w = g.resized_w + g.pad_left + static_cast<int64_t>(random() % 3);
    g.image_h = side(random, g.resized_h);
    g.image_w = side(random, g.resized_w);
    const auto gap = static_cast<int64_t>(random() % 3 == 0 ? random() % 8 : 0);
    const Picture made = picture(g.image_h, g.image_w, gap, random() % 4 == 0, random);
    failures += !agrees(made.view, g);
  }
  return failures;
}

int extreme_sizes() {
  const Letterbox cases[] = {
      {1, 1, 640, 640, 640, 640, 0, 0}, {1, 8192, 64, 640, 1, 640, 31, 0}, {8192, 1, 640, 64, 640, 1, 0, 31},
      {1, 8192, 1, 1, 1, 1, 0, 0},      {8192, 3, 1, 1, 1, 1, 0, 0},       {2, 65536, 8, 9, 8, 9, 0, 0},
      {65536, 2, 9, 8, 9, 8, 0, 0},     {2000, 2000, 1, 9, 1, 9, 0, 0},    {3, 2, 2, 4096, 2, 4096, 0, 0},
  };
  std::mt19937 random(9);
  int failures = 0;
  for (const Letterbox& g : cases) failures += !agrees(picture(g.image_h, g.image_w, 0, false, random).view, g);
  return failures;
}

int refusals() {
  const Letterbox cases[] = {
      {0, 1, 4, 4, 4, 4, 0, 0},  {4, 4, 4, 4, 0, 4, 0, 0},         {4, 4, 4, 4, 5, 4, 0, 0},
      {4, 4, 4, 4, 4, 4, -1, 0}, {4, 4, 4, 4, 4, 4, 0, 1},         {4, 4, INT64_MAX, 4, 4, 4, 0, 0},
      {4, 4, 8, 8, 4, 4, 5, 0},  {4, 4, 65536, 65536, 4, 4, 0, 0}, {4, 4, 8, 8, 4, 4, INT64_MAX, INT64_MIN},
      {5, 4, 4, 4, 4, 4, 0, 0},
  };
  std::mt19937 random(11);
  const Picture made = picture(4, 4, 0, false, random);
  std::vector<float> out(48);
  int failures = 0;
  for (const Letterbox& g : cases) {
    try {
      yolokkn::letterbox(made.view, g, kPlain, out);
      std::printf("a geometry that does not fit was not refused\n");
      ++failures;
    } catch (const yolokkn::ValueError&) {
    }
  }
  return failures;
}

}  // namespace

int main() {
  const int failures = random_sizes(10000) + extreme_sizes() + refusals();
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
