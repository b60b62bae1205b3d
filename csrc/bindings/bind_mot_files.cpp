// Reads the lines of a MOTChallenge file quickly; what is unusual about one is left to the reader that explains.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>
#include <vector>

#include "arrays.h"

namespace yolokkn::bindings {
namespace {

constexpr size_t kLeast = 7;
constexpr size_t kMost = 10;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// Appends a line's numbers; false where it does not hold between kLeast and kMost finite ones.
bool parse_line(std::string_view line, std::vector<double>& values) {
  size_t count = 0;
  while (true) {
    const size_t comma = line.find(',');
    const std::string_view cell = trimmed(line.substr(0, comma));
    double value = 0.0;
    const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (error != std::errc{} || end != cell.data() + cell.size() || !std::isfinite(value)) return false;
    values.push_back(value);
    if (++count > kMost) return false;
    if (comma == std::string_view::npos) return count >= kLeast;
    line.remove_prefix(comma + 1);
  }
}

// (N, columns) float64, or None where a line is not as the others.
py::object parse_mot_(const py::bytes& content) {
  const std::string_view text(content);
  std::vector<double> values;
  size_t num_columns = 0;
  py::ssize_t num_rows = 0;
  bool is_regular = true;
  {
    py::gil_scoped_release nogil;
    for (size_t begin = 0; begin < text.size() && is_regular;) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      const std::string_view line = trimmed(text.substr(begin, end - begin));
      begin = end + 1;
      if (line.empty()) continue;
      const size_t before = values.size();
      is_regular = parse_line(line, values);
      const size_t count = values.size() - before;
      if (num_rows++ == 0) num_columns = count;
      is_regular = is_regular && count == num_columns;
    }
  }
  if (!is_regular || num_rows == 0) return py::none();
  return to_array(std::move(values), {num_rows, static_cast<py::ssize_t>(num_columns)});
}

}  // namespace

void bind_mot_files(py::module_& module) { module.def("parse_mot", &parse_mot_, py::arg("content")); }

}  // namespace yolokkn::bindings
