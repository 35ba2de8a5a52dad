#include <cstdio>

#include "cli/config_page.hpp"

int main() { return std::fputs(sherd::cli::config_page().c_str(), stdout) < 0 ? 1 : 0; }
