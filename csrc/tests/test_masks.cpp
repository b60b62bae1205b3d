// Native test of the masks, meant for ASan and UBSan: hostile boxes, sizes and strings; results against slow loops.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>

#include "yolokkn/error.h"
#include "yolokkn/masks.h"

namespace {

using namespace yolokkn;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "test_masks: %s\n", what);
  std::exit(1);
}

struct Scene {
  Letterbox geometry;
  PrototypesView prototypes;
  std::vector<float> values;  // exactly as long as the prototypes, so that a read behind them is seen
  std::vector<float> coeffs;
  std::vector<float> boxes;
};

float hostile(std::mt19937& random, float size) {
  const float special[] = {0.0f,
                           -0.0f,
                           0.5f,
                           size,
                           size - 0.5f,
                           -size,
                           1e30f,
                           -1e30f,
                           std::numeric_limits<float>::max(),
                           std::numeric_limits<float>::denorm_min(),
                           std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::quiet_NaN()};
  if (random() % 8 == 0) return special[random() % std::size(special)];
  return std::uniform_real_distribution<float>(-0.5f * size, 1.5f * size)(random);
}

Scene make_scene(std::mt19937& random, int64_t count) {
  const auto pick = [&](int64_t low, int64_t high) { return low + static_cast<int64_t>(random()) % (high - low + 1); };
  Scene scene;
  const int64_t input_h = pick(1, 40), input_w = pick(1, 40);
  scene.geometry = {pick(1, 40),      pick(1, 40),      input_h,     input_w,
                    pick(1, input_h), pick(1, input_w), pick(-3, 9), pick(-3, 9)};
  scene.prototypes = {nullptr, pick(0, 4), pick(1, 12), pick(1, 40)};
  const auto size = scene.prototypes.count * scene.prototypes.height * scene.prototypes.width;
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < size; ++i)
    scene.values.push_back(random() % 50 == 0 ? hostile(random, 9.0f) : normal(random));
  scene.prototypes.data = scene.values.data();
  for (int64_t i = 0; i < count * scene.prototypes.count; ++i) scene.coeffs.push_back(normal(random));
  for (int64_t i = 0; i < count * 4; ++i) scene.boxes.push_back(hostile(random, 40.0f));
  return scene;
}

struct Assembled {
  std::vector<int32_t> crops;
  std::vector<uint8_t> data;
  Letterbox geometry;

  MasksView view() const {
    return {data, {crops.data(), static_cast<int64_t>(crops.size() / 4), 4}, geometry.image_h, geometry.image_w};
  }
};

Assembled assemble(const Scene& scene) {
  const auto count = static_cast<int64_t>(scene.boxes.size() / 4);
  Assembled masks{std::vector<int32_t>(scene.boxes.size()), {}, scene.geometry};
  const auto size = mask_crops({scene.boxes.data(), count, 4}, scene.geometry.image_h, scene.geometry.image_w,
                               {masks.crops.data(), count, 4});
  masks.data.assign(static_cast<size_t>(size), 7);
  assemble_masks({scene.coeffs.data(), count, scene.prototypes.count}, scene.prototypes, {masks.crops.data(), count, 4},
                 scene.geometry, masks.data);
  return masks;
}

// The definition, for one pixel.
bool pixel_is_set(const Scene& scene, int64_t n, int64_t x, int64_t y) {
  const auto& g = scene.geometry;
  const auto& planes = scene.prototypes;
  const auto place = [](int64_t pixel, int64_t resized, int64_t image, int64_t pad, int64_t nodes, int64_t input) {
    const double gain = static_cast<double>(resized) / static_cast<double>(image);
    const double scale = static_cast<double>(nodes) / static_cast<double>(input);
    const double position = ((static_cast<double>(pixel) + 0.5) * gain + static_cast<double>(pad)) * scale - 0.5;
    return std::fmin(std::fmax(position, 0.0), static_cast<double>(nodes - 1));
  };
  const double px = place(x, g.resized_w, g.image_w, g.pad_left, planes.width, g.input_w);
  const double py = place(y, g.resized_h, g.image_h, g.pad_top, planes.height, g.input_h);
  const auto logit = [&](int64_t row, int64_t col) {
    float sum = 0.0f;
    for (int64_t p = 0; p < planes.count; ++p) {
      sum = sum + scene.coeffs[static_cast<size_t>(n * planes.count + p)] *
                      planes.data[(p * planes.height + row) * planes.width + col];
    }
    return std::isfinite(sum) ? sum : 0.0f;
  };
  const auto left = static_cast<int64_t>(px), top = static_cast<int64_t>(py);
  const int64_t right = left + 1 < planes.width ? left + 1 : left, bottom = top + 1 < planes.height ? top + 1 : top;
  const auto fx = static_cast<float>(px - static_cast<double>(left));
  const auto fy = static_cast<float>(py - static_cast<double>(top));
  const auto column = [&](int64_t col) { return (1.0f - fy) * logit(top, col) + fy * logit(bottom, col); };
  return (1.0f - fx) * column(left) + fx * column(right) > 0.0f;
}

void test_pixels_equal_definition() {
  std::mt19937 random(1);
  for (int round = 0; round < 60; ++round) {
    const Scene scene = make_scene(random, 6);
    const Assembled masks = assemble(scene);
    const uint8_t* next = masks.data.data();
    for (size_t n = 0; n < 6; ++n) {
      const int32_t* crop = masks.crops.data() + 4 * n;
      for (int64_t y = crop[1]; y < crop[3]; ++y) {
        for (int64_t x = crop[0]; x < crop[2]; ++x) {
          expect(*next++ == (pixel_is_set(scene, static_cast<int64_t>(n), x, y) ? 1 : 0), "a pixel is not as defined");
        }
      }
    }
  }
}

// A million boxes, most of them partly or wholly outside the frame, through every door.
void test_hostile_boxes(int64_t boxes) {
  std::mt19937 random(2);
  constexpr int64_t kBatch = 200;
  for (int64_t done = 0; done < boxes; done += kBatch) {
    const Assembled masks = assemble(make_scene(random, kBatch));
    for (const uint8_t value : masks.data) expect(value <= 1, "a pixel is neither 0 nor 1");
    if (done % (kBatch * 20) != 0) continue;
    const MasksView view = masks.view();
    std::vector<std::vector<int64_t>> runs;
    for (const std::string& text : encode_rle(view)) runs.push_back(parse_rle(text, "text"));
    const DecodedMasks decoded = decode_rle(runs, view.frame_h, view.frame_w);
    const auto frame = static_cast<size_t>(view.frame_h * view.frame_w);
    std::vector<uint8_t> painted(static_cast<size_t>(kBatch) * frame), again(painted.size());
    paint_masks(view, painted);
    paint_masks({decoded.data, {decoded.crops.data(), kBatch, 4}, view.frame_h, view.frame_w}, again);
    expect(painted == again, "masks do not survive their run lengths");
    const Polygons polygons = mask_polygons(view);
    expect(polygons.first.size() == kBatch + 1, "polygons are not one list per mask");
    for (const auto& point : polygons.points) {
      expect(point[0] >= 0 && point[0] < view.frame_w && point[1] >= 0 && point[1] < view.frame_h,
             "a point lies outside");
    }
  }
}

template <typename Call>
void expect_refused(Call call, const char* what) {
  try {
    call();
  } catch (const ValueError&) {
    return;
  }
  expect(false, what);
}

void test_refusals() {
  const std::vector<uint8_t> data(4, 1);
  const std::vector<int32_t> crops{0, 0, 2, 3};
  expect_refused([&] { encode_rle({data, {crops.data(), 1, 4}, 4, 4}); }, "data that is too short was taken");
  expect_refused([&] { mask_polygons({data, {crops.data(), 1, 4}, 2, 2}); }, "a crop outside the frame was taken");
  expect_refused([&] { encode_rle({{}, {crops.data(), 0, 4}, 1 << 20, 1 << 20}); },
                 "a frame of 2**40 pixels was taken");
  expect_refused([] { decode_rle({{INT64_MAX, INT64_MAX}}, 65535, 65535); }, "runs longer than the frame were taken");
  expect_refused([] { decode_rle({{1}}, INT64_MAX, INT64_MAX); }, "a frame that overflows was taken");
  expect_refused([] { check_mask_geometry({0, 1, 1, 1, 1, 1, 0, 0}); }, "an empty frame was taken");
  expect_refused([] { parse_rle("ooooooo", "text"); }, "a number that never ends was taken");
  const std::vector<int32_t> huge{0, 0, INT32_MAX, INT32_MAX, 0, 0, INT32_MAX, INT32_MAX, 0, 0, INT32_MAX, INT32_MAX};
  expect_refused([&] { check_masks("f", {data, {huge.data(), 3, 4}, INT32_MAX, INT32_MAX}); }, "huge crops were taken");
}

}  // namespace

int main(int argc, char** argv) {
  test_pixels_equal_definition();
  test_hostile_boxes(argc > 1 ? std::atoll(argv[1]) : 1'000'000);
  test_refusals();
  std::puts("test_masks: passed");
}
