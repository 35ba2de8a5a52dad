#pragma once
// Text that ends where one of some strings begins, wherever pieces are cut.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sherd::cli {

class StopText {
 public:
  explicit StopText(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  [[nodiscard]] bool stopped() const { return stopped_; }
  /// What may be shown: all but an end that may turn out to begin a stop string.
  std::string push(std::string_view piece) {
    if (stopped_) return {};
    held_ += piece;
    std::size_t shown = held_.size();
    for (const std::string& stop : stops_) {
      const std::size_t at = held_.find(stop);
      if (at != std::string::npos) stopped_ = true;
      shown = std::min(shown, at != std::string::npos ? at : start_of(stop));
    }
    std::string text = held_.substr(0, shown);
    held_.erase(0, shown);
    return text;
  }
  /// What is still held back when no more comes.
  std::string finish() { return stopped_ ? std::string() : std::exchange(held_, {}); }

 private:
  // Where the longest end that begins `stop` does.
  [[nodiscard]] std::size_t start_of(const std::string& stop) const {
    std::size_t at = held_.size() - std::min(held_.size(), stop.size() - 1);
    while (at < held_.size() && !stop.starts_with(std::string_view(held_).substr(at))) ++at;
    return at;
  }

  std::vector<std::string> stops_;  // none is empty
  std::string held_;
  bool stopped_ = false;
};

}  // namespace sherd::cli
