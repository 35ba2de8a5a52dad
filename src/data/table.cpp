#include "sherd/data/table.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "data/fingerprint.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/file.hpp"

namespace sherd::data {
namespace {

constexpr Bytes longest_line = mib;

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// A finite number in fp32's range, or nothing.
std::optional<float> number(std::string_view field) {
  field = trimmed(field);
  if (field.starts_with('+')) field.remove_prefix(1);
  double value = 0;
  const char* end = field.data() + field.size();
  const auto [stop, code] = std::from_chars(field.data(), end, value);
  if (code != std::errc() || stop != end) return std::nullopt;
  if (!(std::abs(value) <= std::numeric_limits<float>::max())) return std::nullopt;
  return static_cast<float>(value);
}

/// Splits a line; the problem if it is not a row of numbers, else nothing.
std::optional<std::string> parse(std::string_view line, std::vector<float>& row) {
  row.clear();
  for (std::size_t at = 0; at <= line.size();) {
    const std::size_t comma = std::min(line.find(',', at), line.size());
    const std::string_view field = line.substr(at, comma - at);
    const std::optional<float> value = number(field);
    if (!value) {
      return "column " + std::to_string(row.size() + 1) + ": got '" + io::printable(field) +
             "', need a finite number";
    }
    row.push_back(*value);
    at = comma + 1;
  }
  return std::nullopt;
}

/// Yields the lines of a file with their offsets, holding one block of it.
class Lines {
 public:
  explicit Lines(const io::File& file) : file_(file) {}

  /// The next line without its end; false at the end of the file.
  bool next(std::string& line) {
    line.clear();
    offset_ = position();
    if (offset_ >= file_.size()) return false;
    ++number_;
    while (at_ < block_.size() || refill()) {
      const std::size_t end = block_.find('\n', at_);
      const std::size_t stop = std::min(end, block_.size());
      line.append(block_, at_, stop - at_);
      if (line.size() > longest_line) {
        throw DataError(file_.path() + ": line " + std::to_string(number_) + ": is above 1 MiB");
      }
      at_ = stop;
      if (end == std::string::npos) continue;
      ++at_;
      break;
    }
    return true;
  }

  [[nodiscard]] Bytes offset() const { return offset_; }          // of the last line
  [[nodiscard]] std::uint64_t number() const { return number_; }  // of the last line, from 1

 private:
  [[nodiscard]] Bytes position() const { return block_start_ + at_; }
  bool refill() {
    block_start_ = position();
    at_ = 0;
    block_.resize(std::min<Bytes>(256 * kib, file_.size() - block_start_));
    file_.pread_exact(block_start_, std::as_writable_bytes(std::span(block_)));
    return !block_.empty();
  }

  const io::File& file_;
  std::string block_;
  std::size_t at_ = 0;
  Bytes block_start_ = 0, offset_ = 0;
  std::uint64_t number_ = 0;
};

class Table final : public Source {
 public:
  Table(const std::string& path, std::int64_t label_columns) : file_(path), labels_(label_columns) {
    expects(label_columns > 0, "csv: got no label columns, need at least 1");
    index();
    if (starts_.empty()) throw DataError(path + ": has no rows of numbers");
    if (columns_ <= labels_) {
      throw DataError(path + ": has " + std::to_string(columns_) + " columns, need more than its " +
                      std::to_string(labels_) + " label columns");
    }
  }

  [[nodiscard]] std::uint64_t samples() const override { return starts_.size(); }
  [[nodiscard]] SampleShape shape() const override {
    return {columns_ - labels_, DType::f32, labels_, DType::f32};
  }

  void read(std::uint64_t sample, View inputs, View labels) const override {
    expects(sample < samples(), "csv: got a sample past the end");
    expects(inputs.shape == Shape{1, columns_ - labels_} && inputs.type == DType::f32 &&
                labels.shape == Shape{1, labels_} && labels.type == DType::f32,
            "csv: got inputs or labels of another shape than the table's rows");
    const Bytes start = starts_[sample];
    const Bytes room = std::min(longest_line, file_.size() - start);
    std::string text(std::min(room, bytes_), '\0');
    file_.pread_exact(start, std::as_writable_bytes(std::span(text)));
    std::vector<float> row;
    const auto problem = parse(std::string_view(text).substr(0, text.find('\n')), row);
    if (problem || std::ssize(row) != columns_) {
      file_.refuse(start, "changed since the run started: " + problem.value_or("columns"));
    }
    std::copy_n(row.begin(), columns_ - labels_, inputs.as<float>());
    std::copy_n(row.end() - labels_, labels_, labels.as<float>());
  }

  [[nodiscard]] std::uint64_t fingerprint() const override {
    Fingerprint fingerprint;
    fingerprint.add(static_cast<std::uint64_t>(labels_));
    fingerprint.add(file_);
    return fingerprint.value();
  }

 private:
  /// Remembers where each row starts, after checking all of them.
  void index() {
    Lines lines(file_);
    std::string line;
    std::vector<float> row;
    while (lines.next(line)) {
      Bytes start = lines.offset();
      if (lines.number() == 1 && line.starts_with("\xEF\xBB\xBF")) {  // UTF-8 byte order mark
        line.erase(0, 3);
        start += 3;
      }
      if (trimmed(line).empty()) continue;
      const auto problem = parse(line, row);
      if (problem && starts_.empty() && !header_) {
        header_ = true;
        continue;
      }
      if (problem) refuse(lines.number(), *problem);
      if (starts_.empty()) columns_ = std::ssize(row);
      if (std::ssize(row) != columns_) {
        refuse(lines.number(),
               "has " + std::to_string(row.size()) + " columns, need " + std::to_string(columns_));
      }
      starts_.push_back(start);
      bytes_ = std::max<Bytes>(bytes_, line.size() + 1);
    }
  }

  [[noreturn]] void refuse(std::uint64_t line, const std::string& problem) const {
    throw DataError(file_.path() + ": line " + std::to_string(line) + ": " + problem);
  }

  io::File file_;
  std::int64_t labels_, columns_ = 0;
  bool header_ = false;
  Bytes bytes_ = 0;  // of the longest row
  std::vector<Bytes> starts_;
};

}  // namespace

std::unique_ptr<Source> csv(const std::string& path, std::int64_t label_columns) {
  return std::make_unique<Table>(path, label_columns);
}

}  // namespace sherd::data
