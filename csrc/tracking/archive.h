// The state of a tracker as bytes, and back: one function per structure names its fields for both directions.
// Little-endian, doubles as IEEE 754: the bytes mean the same on every machine that yolokkn is built for.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace yolokkn {

static_assert(std::endian::native == std::endian::little);

class ArchiveError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Saver {
 public:
  static constexpr bool kLoads = false;

  template <typename T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void operator()(const T& value) {
    const auto* bytes = reinterpret_cast<const char*>(&value);
    bytes_.append(bytes, sizeof(T));
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Refuses what no Saver wrote: bytes that end early, numbers that are not finite.
class Loader {
 public:
  static constexpr bool kLoads = true;

  explicit Loader(std::span<const char> bytes) : bytes_(bytes) {}

  template <typename T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void operator()(T& value) {
    if (bytes_.size() < sizeof(T)) throw ArchiveError("it ends early");
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_ = bytes_.subspan(sizeof(T));
    if constexpr (std::is_floating_point_v<T>) require(std::isfinite(value), "a number is not finite");
  }
  size_t left() const noexcept { return bytes_.size(); }
  static void require(bool holds, const char* why) {
    if (!holds) throw ArchiveError(why);
  }

 private:
  std::span<const char> bytes_;
};

template <typename Archive>
void exchange(Archive& archive, double& value) {
  archive(value);
}

// A list of structures that `exchange` knows; each takes at least one byte, so that a length beyond the rest is
// refused.
template <typename Archive, typename T>
void exchange_all(Archive& archive, std::vector<T>& items) {
  auto count = static_cast<uint64_t>(items.size());
  archive(count);
  if constexpr (Archive::kLoads) {
    Archive::require(count <= archive.left(), "a list is longer than the rest");
    items.assign(static_cast<size_t>(count), T{});
  }
  for (T& item : items) exchange(archive, item);
}

}  // namespace yolokkn
